"""Editors: models that fill gaps in a spectrogram and remove noise from it."""
