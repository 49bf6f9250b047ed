"""Generators: models that synthesise music of a style as spectrograms."""
