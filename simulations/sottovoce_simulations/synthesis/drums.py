"""The drum kit: each drum a falling tone, a band of noise, or both."""

from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from sottovoce_simulations.synthesis.voices import Samples


@dataclass(frozen=True)
class Drum:
    """Sound of a drum.

    Args:
        tone: frequency at which the skin settles, Hz; 0 for none.
        bend: factor of the initial frequency.
        ring: decay time of the tone, seconds.
        noise: level of the noise.
        low: lower edge of the noise, Hz.
        high: upper edge of the noise, Hz.
        hiss: decay time of the noise, seconds.
    """

    tone: float = 0.0
    bend: float = 1.0
    ring: float = 0.1
    noise: float = 0.0
    low: float = 200.0
    high: float = 8000.0
    hiss: float = 0.1

    def varied(self, rng: np.random.Generator) -> "Drum":
        """The same drum of another kit."""
        spread = np.exp(rng.normal(0.0, (0.15, 0.25, 0.3, 0.2, 0.3)))
        return replace(
            self,
            tone=self.tone * spread[0],
            ring=self.ring * spread[1],
            noise=self.noise * spread[2],
            low=self.low * spread[3],
            hiss=self.hiss * spread[4],
        )

    def sound(self, rate: int, rng: np.random.Generator) -> Samples:
        """One stroke, `[samples]`, at about unit level."""
        time = np.arange(round(5 * max(self.ring if self.tone else 0, self.hiss if self.noise else 0) * rate) + 1)
        time = (time / rate).astype(np.float32)
        stroke = np.zeros(len(time), np.float32)
        if self.tone:
            fall = 0.025  # seconds in which the skin settles
            phase = self.tone * (time + (self.bend - 1) * fall * (1 - np.exp(-time / fall)))
            stroke += np.sin(2 * np.pi * phase) * np.exp(-time / self.ring)
        if self.noise:
            stroke += np.float32(self.noise) * self._noise(rate, len(time), rng) * np.exp(-time / self.hiss)
        return stroke.astype(np.float32)

    def _noise(self, rate: int, samples: int, rng: np.random.Generator) -> Samples:
        size = 1 << max(8, (samples - 1).bit_length())
        hertz = np.fft.rfftfreq(size, 1 / rate)
        band = 1 / (1 + (self.low / np.maximum(hertz, 1.0)) ** 4) / (1 + (hertz / self.high) ** 4)
        noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(size)) * band)[:samples]
        shaped: Samples = (noise / (noise.std() * 3 + 1e-9)).astype(np.float32)
        return shaped


KIT = MappingProxyType(
    {
        "kick": Drum(tone=52, bend=4.0, ring=0.16, noise=0.1, low=1500, hiss=0.008),
        "thud": Drum(tone=62, bend=1.6, ring=0.28, noise=0.25, low=60, high=700, hiss=0.1),
        "snare": Drum(tone=190, bend=1.4, ring=0.07, noise=0.9, low=900, high=9000, hiss=0.11),
        "brush": Drum(noise=0.6, low=1500, high=7000, hiss=0.09),
        "roll": Drum(tone=210, bend=1.2, ring=0.03, noise=0.7, low=1200, high=9000, hiss=0.05),
        "clap": Drum(noise=1.0, low=900, high=4000, hiss=0.09),
        "hat": Drum(noise=0.6, low=6500, high=16000, hiss=0.03),
        "open": Drum(noise=0.6, low=6000, high=16000, hiss=0.18),
        "ride": Drum(tone=3100, ring=0.2, noise=0.5, low=5000, high=14000, hiss=0.3),
        "cymbal": Drum(noise=0.8, low=3500, high=15000, hiss=0.5),
        "rim": Drum(tone=1700, bend=1.1, ring=0.02, noise=0.4, low=2000, hiss=0.015),
        "shaker": Drum(noise=0.5, low=4500, high=11000, hiss=0.05),
        "conga": Drum(tone=240, bend=1.2, ring=0.12, noise=0.15, low=500, high=3000, hiss=0.02),
        "tom": Drum(tone=110, bend=1.5, ring=0.2, noise=0.1, low=200, high=2000, hiss=0.04),
        "blip": Drum(noise=0.9, low=2500, high=9000, hiss=0.03),
        "burst": Drum(noise=1.0, low=300, high=10000, hiss=0.07),
    }
)
