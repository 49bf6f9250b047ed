"""What a composer starts from: random numbers, the artist's habits, a key, a tempo and a number of beats."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from sottovoce_simulations.synthesis.artist import Artist
from sottovoce_simulations.synthesis.palette import PALETTE
from sottovoce_simulations.synthesis.score import Score
from sottovoce_simulations.synthesis.theory import SCALES, Scale
from sottovoce_simulations.synthesis.voices import Voice

Option = TypeVar("Option")

_LOYALTY = 0.65  # probability of the artist's usual choice


@dataclass(frozen=True)
class Scene:
    """One track to be composed.

    Args:
        rng: source of every choice.
        artist: the track's artist.
        tempo: beats per minute.
        beats: number of beats in the track.
        root: the key's tonic, a MIDI pitch in the octave below middle C.
    """

    rng: np.random.Generator
    artist: Artist
    tempo: float
    beats: int
    root: int

    @classmethod
    def open(cls, style: "Style", artist: Artist, seconds: float, rng: np.random.Generator) -> "Scene":
        """Choose tempo and key by the artist's habits."""
        low, high = style.tempo
        place = artist.tempo + rng.normal(0.0, 0.2)
        tempo = low * (high / low) ** float(np.clip(place, -0.15, 1.15))
        root = 48 + (artist.root if rng.random() < 0.4 else int(rng.integers(12)))
        return cls(rng, artist, tempo, int(seconds * tempo / 60) + 1, root)

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)

    def pick(self, options: Sequence[Option]) -> Option:
        """One of some options."""
        return options[int(self.rng.integers(len(options)))]

    def between(self, low: float, high: float) -> float:
        """A uniformly drawn number from a range."""
        return float(self.rng.uniform(low, high))

    def scale(self, *names: str) -> Scale:
        """One of some scales, usually the artist's favourite."""
        return SCALES[self._usual(names)]

    def voice(self, *names: str) -> Voice:
        """One of some instruments, usually the artist's favourite, with individual variation."""
        name = self._usual(names)
        own = PALETTE[name].varied(np.random.default_rng((self.artist.seed, len(name))))
        return own.varied(self.rng, 0.4)

    def _usual(self, options: tuple[str, ...]) -> str:
        return self.artist.favourite(options) if self.chance(_LOYALTY) else self.pick(options)


@dataclass(frozen=True)
class Style:
    """A style of music.

    Args:
        name: name of the class.
        tempo: usual range, beats per minute.
        reverb: reverberation relative to the artist's usual room.
        compose: composes a track.
    """

    name: str
    tempo: tuple[float, float]
    reverb: float
    compose: Callable[[Scene], Score]
