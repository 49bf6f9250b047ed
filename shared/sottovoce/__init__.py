"""Sottovoce: record labels train music models together without sharing their audio.

This package is what both sides and every user of a model import; it imports neither side.
"""

__version__ = "0.1.0"
