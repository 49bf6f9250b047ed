"""Which notes sound: the fundamentals behind a moment's partials, so that harmony is described whatever plays it."""

import torch
from torch import Tensor

VOICES = 4
"""Notes looked for in each frame; what else sounds goes unheard."""

_PARTIALS = (0, 12, 19, 24, 28, 31)
"""Semitones from a fundamental to its first partials."""
_DECAY = 0.85
"""Weight of each partial over the one before."""
_CANCELLED = 0.9
"""How much of its own strength a note takes from each of its partials."""
_LEAST_PEAK = 0.3
"""Of a frame's strongest semitone: a fundamental is at least so strong itself."""
_LEAST_NOTE = 0.35
"""Of a frame's clearest note: others are at least so clear."""
_LEAST_LEVEL = 0.25
"""Of a segment's strongest note: what is weaker has died away."""


def transcribe(pitch: Tensor) -> Tensor:
    """The notes of each frame by their strength, the others 0: `[segments, semitones, frames]`.

    The clearest fundamental, by the weighted sum over its partials, is taken out of a frame together with these, then
    the next one (Klapuri, ISMIR 2006, in semitones instead of bins).

    Args:
        pitch: strength of each semitone, as `Spectra.pitch`.
    """
    segments, semitones, frames = pitch.shape
    least = _LEAST_PEAK * pitch.amax(dim=1, keepdim=True)
    # Room for the partials above the highest semitone, where nothing sounds.
    rest = torch.cat([pitch, torch.zeros(segments, _PARTIALS[-1], frames)], dim=1)
    found = torch.zeros_like(pitch)
    clearest = torch.zeros(segments, 1, frames)
    for voice in range(VOICES):
        clearness = torch.zeros_like(pitch)
        for number, partial in enumerate(_PARTIALS):
            clearness.add_(rest[:, partial : partial + semitones], alpha=_DECAY**number)
        clearness *= rest[:, :semitones] > least
        best, note = clearness.max(dim=1, keepdim=True)
        if voice == 0:
            clearest = best
        strength = rest.gather(1, note) * (best > _LEAST_NOTE * clearest)
        found.scatter_reduce_(1, note, strength, reduce="amax")
        for number, partial in enumerate(_PARTIALS):
            left = rest.gather(1, note + partial) - (_CANCELLED if number else 1.0) * strength
            rest.scatter_(1, note + partial, left.clamp(min=0))
    return found * (found > _LEAST_LEVEL * found.amax(dim=(1, 2), keepdim=True))
