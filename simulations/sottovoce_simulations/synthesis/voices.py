"""Instruments: single-cycle waves with fading harmonics, and struck metal with a few inharmonic partials."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

TABLE = 2048
_HIGHEST = 0.45  # share of the sample rate: the highest rendered partial
_CONCERT_PITCH = 440.0


@dataclass(frozen=True)
class Voice:
    """Sound of an instrument.

    Args:
        slope: decrease of the harmonics, dB per octave (a saw wave: -6).
        even: level of the even harmonics (a square wave or a clarinet: near 0).
        attack: seconds to full level.
        decay: time constant from there to `sustain`, seconds.
        sustain: level of a held note.
        release: time constant after the key is released, seconds.
        dulling: time in which the upper harmonics fade, seconds; 0 for never.
        formants: (Hz, width in octaves, dB) of the body's resonances.
        vibrato: cents.
        detune: cents between two copies; 0 for a single one.
        breath: level of the noise in the tone.
        partials: (ratio, level, seconds of decay) of a struck body; replaces the harmonics.
    """

    slope: float = -6.0
    even: float = 1.0
    attack: float = 0.01
    decay: float = 0.3
    sustain: float = 0.7
    release: float = 0.1
    dulling: float = 0.0
    formants: tuple[tuple[float, float, float], ...] = ()
    vibrato: float = 0.0
    detune: float = 0.0
    breath: float = 0.0
    partials: tuple[tuple[float, float, float], ...] = ()

    def varied(self, rng: np.random.Generator, amount: float = 1.0) -> "Voice":
        """Another instrument of the same kind."""

        def scaled(value: float, spread: float) -> float:
            return value * float(np.exp(rng.normal(0.0, spread * amount)))

        return replace(
            self,
            slope=self.slope + float(rng.normal(0.0, 1.5 * amount)),
            even=min(1.0, scaled(self.even, 0.3)),
            attack=scaled(self.attack, 0.4),
            decay=scaled(self.decay, 0.4),
            sustain=min(1.0, scaled(self.sustain, 0.15)),
            release=scaled(self.release, 0.4),
            dulling=scaled(self.dulling, 0.4),
            formants=tuple((scaled(hz, 0.12), width, level) for hz, width, level in self.formants),
            vibrato=scaled(self.vibrato, 0.4),
            detune=scaled(self.detune, 0.4),
            breath=scaled(self.breath, 0.5),
            partials=tuple(
                (ratio * (1.0 + float(rng.normal(0.0, 0.01 * amount))), scaled(level, 0.3), scaled(seconds, 0.3))
                for ratio, level, seconds in self.partials
            ),
        )


def frequency(pitch: float) -> float:
    """Hz of a MIDI pitch in equal temperament."""
    return float(_CONCERT_PITCH * 2.0 ** ((pitch - 69.0) / 12.0))


class Player:
    """Plays one voice at one sample rate; caches notes, since music repeats itself."""

    def __init__(self, voice: Voice, rate: int, rng: np.random.Generator) -> None:
        self._voice = voice
        self._rate = rate
        self._rng = rng
        self._tables: dict[int, tuple[Samples, Samples]] = {}
        self._played: dict[tuple[float, int], Samples] = {}

    def note(self, pitch: float, seconds: float) -> Samples:
        """A note held for `seconds`, followed by its release, `[samples]`, at about unit level."""
        held = max(1, round(seconds * self._rate))
        key = (round(pitch, 3), held)
        if key not in self._played:
            self._played[key] = self._struck(pitch, held) if self._voice.partials else self._sung(pitch, held)
        return self._played[key]

    def _struck(self, pitch: float, held: int) -> Samples:
        tone = frequency(pitch)
        ring = max(seconds for _, _, seconds in self._voice.partials) * 3.0
        time = np.arange(min(held + round(self._voice.release * 5 * self._rate), round(ring * self._rate)) + 1)
        time = (time / self._rate).astype(np.float32)
        sound = np.zeros(len(time), np.float32)
        for ratio, level, seconds in self._voice.partials:
            if tone * ratio < _HIGHEST * self._rate:
                phase = np.float32(self._rng.uniform(0, 2 * np.pi))
                wave = np.sin(np.float32(2 * np.pi * tone * ratio) * time + phase)
                sound += np.float32(level) * wave * np.exp(time * np.float32(-1 / seconds))
        return sound * self._damped(held, len(time))

    def _damped(self, held: int, samples: int) -> Samples:
        """Damping: level 1 while held, then the release, which ends in silence."""
        gone = np.maximum(np.arange(samples, dtype=np.float32) - held, 0)
        fall = np.exp(gone * np.float32(-1 / (max(self._voice.release, 1e-3) * self._rate)))
        fall *= 1 - gone / np.float32(max(1, samples - held))
        return fall.astype(np.float32, copy=False)

    def _sung(self, pitch: float, held: int) -> Samples:
        voice = self._voice
        samples = held + round(min(voice.release * 5, 2.0) * self._rate)
        time = np.arange(samples, dtype=np.float32) / np.float32(self._rate)
        bright, dull = self._table(pitch)
        fading = np.exp(time * np.float32(-1 / voice.dulling)) if voice.dulling else None
        sound = np.zeros(samples, np.float32)
        places = self._places(pitch, time)
        for place in places:
            if fading is None:
                sound += bright[place]
            else:
                sound += dull[place] + (bright - dull)[place] * fading
        sound /= np.float32(len(places))
        if voice.breath:
            sound += self._rng.standard_normal(samples, np.float32) * np.float32(voice.breath)
        level = voice.sustain + (1 - voice.sustain) * np.exp(time * np.float32(-1 / max(voice.decay, 1e-3)))
        level *= np.minimum(time / np.float32(max(voice.attack, 1e-3)), 1.0)
        played: Samples = sound * level * self._damped(held, samples)
        return played

    def _places(self, pitch: float, time: Samples) -> list[NDArray[np.int64]]:
        """Position in the wavetable of each sample of each detuned copy."""
        copies = (-self._voice.detune / 2, self._voice.detune / 2) if self._voice.detune else (0.0,)
        places = []
        for cents in copies:
            phase = time * np.float64(frequency(pitch + cents / 100)) + self._rng.uniform()
            if self._voice.vibrato:
                rate = self._rng.uniform(4.5, 6.5)
                depth = frequency(pitch) * (2 ** (self._voice.vibrato / 1200) - 1) / (2 * np.pi * rate)
                phase += depth * np.sin(np.float32(2 * np.pi * rate) * time)
            places.append((phase * TABLE).astype(np.int64) & (TABLE - 1))
        return places

    def _table(self, pitch: float) -> tuple[Samples, Samples]:
        """One bright and one dull cycle, `[TABLE]` each; one pair serves three neighbouring keys."""
        key = round(pitch / 3)
        if key not in self._tables:
            voice, tone = self._voice, frequency(key * 3 + 1)
            number = np.arange(1, max(2, min(TABLE // 2, int(_HIGHEST * self._rate / tone))))
            level = number ** (voice.slope / 6.02)
            level[1::2] *= voice.even
            for hz, width, decibels in voice.formants:
                distance = np.log2(number * tone / hz) / width
                level *= 10 ** (decibels * np.exp(-0.5 * distance**2) / 20)
            phases = np.exp(2j * np.pi * self._rng.uniform(size=len(number)))
            self._tables[key] = (_cycle(level * phases), _cycle(level * phases * np.exp(-0.5 * (number - 1))))
        return self._tables[key]


def _cycle(spectrum: NDArray[np.complex128]) -> Samples:
    bins = np.zeros(TABLE // 2 + 1, np.complex128)
    bins[1 : len(spectrum) + 1] = spectrum
    wave = np.fft.irfft(bins)
    cycle: Samples = (wave / (wave.std() * 3)).astype(np.float32)
    return cycle
