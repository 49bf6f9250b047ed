"""Mending and changing audio files: gaps are filled, and everything outside them stays as it was."""
