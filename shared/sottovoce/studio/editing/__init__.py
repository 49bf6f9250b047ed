"""Repair and effects for audio files. Samples outside repaired gaps are unchanged."""
