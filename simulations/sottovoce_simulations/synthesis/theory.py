"""Scales, chords and voice leading; pitches are MIDI numbers."""

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np

Scale = tuple[float, ...]

SCALES: MappingProxyType[str, Scale] = MappingProxyType(
    {
        "major": (0, 2, 4, 5, 7, 9, 11),
        "minor": (0, 2, 3, 5, 7, 8, 10),
        "harmonic": (0, 2, 3, 5, 7, 8, 11),
        "dorian": (0, 2, 3, 5, 7, 9, 10),
        "phrygian": (0, 1, 3, 5, 7, 8, 10),
        "lydian": (0, 2, 4, 6, 7, 9, 11),
        "mixolydian": (0, 2, 4, 5, 7, 9, 10),
        "pentatonic": (0, 2, 4, 7, 9),
        "blues": (0, 3, 5, 6, 7, 10),
        # Javanese tunings differ between gamelans; these values are typical.
        "slendro": (0, 2.4, 4.8, 7.2, 9.6),
        "pelog": (0, 1.2, 2.7, 5.4, 6.7, 7.9, 9.5),
    }
)


def degree(scale: Scale, root: float, step: int) -> float:
    """The pitch `step` steps up from `root` in a scale; negative steps go down."""
    octave, index = divmod(step, len(scale))
    return root + 12 * octave + scale[index]


def triad(scale: Scale, root: float, step: int, size: int = 3) -> list[float]:
    """A chord of thirds on a degree of a seven-note scale: 3 notes for a triad, 4 with seventh, 5 with ninth."""
    return [degree(scale, root, step + 2 * index) for index in range(size)]


def nearest(pitch_classes: Sequence[float], wanted: float) -> float:
    """The pitch closest to `wanted` among all octaves of some pitches: the smoothest voice leading."""
    return min((note + 12 * round((wanted - note) / 12) for note in pitch_classes), key=lambda note: abs(note - wanted))


def voicing(chord: Sequence[float], around: float, voices: int) -> list[float]:
    """A chord's notes in close position around a pitch, lowest first."""
    lowest = nearest(chord, around - 3)
    notes, pitch = [lowest], lowest
    while len(notes) < voices:
        pitch = min(note + 12 * np.floor((pitch - note) / 12 + 1) for note in chord)
        notes.append(float(pitch))
    return notes


def walk(rng: np.random.Generator, steps: int, *, low: int, high: int, leap: float = 0.2) -> list[int]:
    """Scale steps of a melody: mostly neighbours, sometimes a leap, reflected at the edges of its range."""
    position = int(rng.integers(low, high + 1))
    line = []
    for _ in range(steps):
        line.append(position)
        size = int(rng.integers(2, 5)) if rng.random() < leap else int(rng.integers(0, 3) > 0)
        direction = -1 if rng.random() < (position - low) / max(1, high - low) else 1
        position = int(np.clip(position + direction * size, low, high))
    return line
