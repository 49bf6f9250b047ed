"""Transcription: fundamentals behind the partials of each frame, so that harmony is independent of the instrument."""

import torch
from torch import Tensor

VOICES = 4
"""Largest number of notes per frame."""

_PARTIALS = (0, 12, 19, 24, 28, 31)
"""Intervals from a fundamental to its first partials, semitones."""
_DECAY = 0.85
"""Weight of each partial relative to the previous one."""
_CANCELLED = 0.9
"""Share of its own strength that a note removes from each of its partials."""
_LEAST_PEAK = 0.3
"""Smallest strength of a fundamental, as a share of the frame's strongest semitone."""
_LEAST_NOTE = 0.35
"""Smallest clarity of a note, as a share of the frame's clearest note."""
_LEAST_LEVEL = 0.25
"""Smallest strength of a note, as a share of the segment's strongest; weaker notes have died away."""


def transcribe(pitch: Tensor) -> Tensor:
    """The strength of each frame's notes, 0 elsewhere: `[segments, semitones, frames]`.

    The clearest fundamental, by the weighted sum over its partials, is removed from a frame together with them, then
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
