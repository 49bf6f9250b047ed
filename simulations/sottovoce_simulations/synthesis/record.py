"""From a score to samples: players, drums, room, tape, noise floor and master."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from sottovoce_simulations.synthesis.drums import KIT
from sottovoce_simulations.synthesis.scene import Scene
from sottovoce_simulations.synthesis.score import Score
from sottovoce_simulations.synthesis.voices import Player, Samples

_TIMING = 0.008  # seconds; deviation of players from the beat
_PEAK = 0.98
_PIVOT = 800.0  # Hz; pivot of the spectral tilt
_LEAST_HZ = 20.0


def record(score: Score, scene: Scene, *, seconds: float, reverb: float) -> Samples:
    """Play and mix a score.

    Args:
        score: the score.
        scene: the recording's scene, whose generator makes every draw.
        seconds: length.
        reverb: factor for the artist's usual reverberation.

    Returns:
        `[samples, channels]` at the artist's sample rate, within ±1.
    """
    samples, rate = round(seconds * scene.artist.rate), scene.artist.rate
    channels = 2 if scene.artist.stereo else 1
    mix = np.zeros((channels, samples), np.float32)
    for start, sound, level, pan in _sounds(score, scene):
        first = max(0, round(start * rate))
        length = min(len(sound), samples - first)
        if length > 0:
            for channel, gain in enumerate(_gains(level, pan, channels)):
                mix[channel, first : first + length] += np.float32(gain) * sound[:length]
    return _master(_room(mix, scene, reverb), scene).T


def _sounds(score: Score, scene: Scene) -> Iterator[tuple[float, Samples, float, float]]:
    """Each sound with its start in seconds, level and panning."""
    rng, rate, beat = scene.rng, scene.artist.rate, 60 / score.tempo
    for part in score.parts:
        player = Player(part.voice, rate, rng)
        gain = 10 ** (part.level / 20)
        missed = rng.normal(0, _TIMING, len(part.notes))
        for note, late in zip(part.notes, missed, strict=True):
            yield note.start * beat + late, player.note(note.pitch, note.length * beat), gain * note.velocity, part.pan
    gain = 10 ** (score.drums / 20)
    kit = np.random.default_rng((scene.artist.seed, 1))
    own = {name: KIT[name].varied(kit) for name in KIT}
    played = {name: own[name].sound(rate, rng) for name in sorted({hit.drum for hit in score.hits})}
    places = {name: float(rng.uniform(-0.4, 0.4)) for name in played}
    missed = rng.normal(0, _TIMING / 2, len(score.hits))
    for hit, late in zip(score.hits, missed, strict=True):
        yield hit.start * beat + late, played[hit.drum], gain * hit.velocity, places[hit.drum]


def _gains(level: float, pan: float, channels: int) -> tuple[float, ...]:
    """Constant power over two channels."""
    if channels == 1:
        return (level,)
    angle = (pan + 1) * np.pi / 4
    return level * float(np.cos(angle)) * 2**0.5, level * float(np.sin(angle)) * 2**0.5


def _room(mix: NDArray[np.float32], scene: Scene, reverb: float) -> NDArray[np.float32]:
    """Reverberation, tilt and band limits in one pass over the spectrum."""
    artist, rng, samples = scene.artist, scene.rng, mix.shape[1]
    decay = float(np.clip(artist.room * reverb * np.exp(rng.normal(0, 0.3)), 0.1, 5.0))
    wet = artist.wet * min(1.5, reverb) * float(np.exp(rng.normal(0, 0.4)))
    ring = min(samples, round(decay * artist.rate))
    size = fft.next_fast_len(samples + ring, real=True)
    hertz = fft.rfftfreq(size, 1 / artist.rate).astype(np.float32)
    tilt = artist.brightness + rng.normal(0, 0.7)
    shape = (np.maximum(hertz, _LEAST_HZ) / _PIVOT) ** (tilt / 6.02)
    low = float(np.exp(rng.uniform(np.log(20), np.log(120))))
    high = artist.rate / 2 if rng.random() < 0.7 else rng.uniform(3000, 9000)
    shape /= (1 + (low / np.maximum(hertz, 1.0)) ** 4) * (1 + (hertz / high) ** 8)
    fall = np.exp(np.arange(ring) / artist.rate * (-6.9 / decay)).astype(np.float32)  # 60 dB in `decay` seconds
    heard = np.zeros((2, *mix.shape), np.float32)  # the music, and what the room answers to an impulse
    heard[0] = mix
    for response in heard[1, :, :ring]:
        response[:] = rng.standard_normal(ring, np.float32) * fall
        response *= np.float32(wet / np.sqrt(np.sum(response**2) + 1e-12))
        response[0] += 1.0
    spectra = fft.rfft(heard, size)  # all at once, which takes half as long as one after the other
    return fft.irfft(spectra[0] * spectra[1] * shape, size)[:, :samples]


def _master(mix: NDArray[np.float32], scene: Scene) -> NDArray[np.float32]:
    """Tape, noise floor, level."""
    artist, rng = scene.artist, scene.rng
    mix = mix / np.float32(np.sqrt(np.mean(mix**2)) + 1e-9)
    if artist.drive:
        mix = np.tanh(mix * np.float32(0.4 * artist.drive)) / np.float32(0.4 * artist.drive)
        mix /= np.float32(np.sqrt(np.mean(mix**2)))
    hiss = 10 ** ((artist.noise + 20 + rng.normal(0, 3)) / 20)  # the music itself is at -20 dBFS
    mix += np.float32(hiss) * rng.standard_normal(mix.shape, np.float32)
    mix *= np.float32(10 ** ((artist.level + rng.normal(0, 2)) / 20))
    peak = float(np.abs(mix).max())
    return mix * np.float32(_PEAK / peak) if peak > _PEAK else mix
