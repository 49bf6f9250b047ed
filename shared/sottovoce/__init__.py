"""Sottovoce: record labels train music models together without sharing their audio.

This package is what both sides and every user of a model import; it imports neither side. Its face for Python is
`sottovoce.api`, whose names are here as well: `load`, `edit`, `simulate`, `connect`, `Model`.
"""

from typing import TYPE_CHECKING, Any

from sottovoce.version import __version__

__all__ = ["Classification", "Model", "Simulation", "__version__", "connect", "edit", "load", "simulate"]

if TYPE_CHECKING:
    from sottovoce.api import Model, Simulation, connect, edit, load, simulate
    from sottovoce.studio.classification import Classification


def __getattr__(name: str) -> Any:
    """Load the face when it is first used, so that a bare import costs nothing."""
    if name in __all__:
        from sottovoce import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
