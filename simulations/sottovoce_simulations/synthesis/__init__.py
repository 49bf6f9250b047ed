"""Synthetic music: styles that differ in rhythm, harmony and timbre, artists with habits, catalogues."""

from sottovoce_simulations.synthesis.catalogues import Made, synthesise
from sottovoce_simulations.synthesis.styles import STYLES

__all__ = ["STYLES", "Made", "synthesise"]
