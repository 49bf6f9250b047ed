"""Generators: music of a style, made frame by frame or segment by segment."""
