"""The version of every package of this distribution."""

__version__ = "0.1.0"
