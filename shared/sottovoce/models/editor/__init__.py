"""Editors: what is missing from a spectrogram is filled in, and noise is taken off it."""
