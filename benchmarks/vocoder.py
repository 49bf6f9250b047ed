"""Distance between audio and its reconstruction from a spectrogram, for each vocoder.

Tracks that no vocoder was trained on, from benchmarks/repair.py. `python -m benchmarks vocoder`.
"""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchaudio.functional import griffinlim

from benchmarks.repair import CONSTANTS, SPEC, Track, unseen
from sottovoce.audio.resampling import resampled
from sottovoce.features import spectrogram
from sottovoce.features.segments import level
from sottovoce.features.spectrogram import FLOOR
from sottovoce.models.generator import _codec
from sottovoce.studio.vocoder import GriffinLim, NeuralVocoder
from sottovoce.studio.vocoder.griffin_lim import MOMENTUM, Inversion, audible, random_phases
from sottovoce.studio.vocoder.phase_gradients import integrated

START_SECONDS, SECONDS = 2.0, 5.0  # start and length of the used part of each track
TRACKS = 12  # per kind, if available
RESOLUTIONS = (512, 1024, 4096)  # windows of the multi-resolution distance; none is the features' own
FIRST = "griffin-lim, 32"
CODED = (FIRST, "network, gradients, 8", "network, gradients, 16", "inversion, gradients, 8")

Way = Callable[[Tensor, torch.Generator], Tensor]


def run() -> dict[str, Any]:
    """Means over tracks, by source."""
    with tempfile.TemporaryDirectory() as temporary:
        tracks = unseen(Path(temporary))
    excerpts = {
        name: [_excerpt(some[k]) for k in range(0, len(some), max(1, len(some) // TRACKS))]
        for name, some in tracks.items()
    }
    few = {name: way for name, way in ways().items() if name in CODED}
    return {name: figures(ways(), some) for name, some in excerpts.items()} | {
        f"{name}, after the codec": figures(few, some, coded) for name, some in excerpts.items()
    }


def ways() -> dict[str, Way]:
    """Methods from levels in dB, `[n_mels, frames]`, to audio."""
    network, inversion = NeuralVocoder(SPEC), Inversion(SPEC)

    def by_chance(levels: Tensor, generator: torch.Generator) -> Tensor:
        magnitudes = network.magnitudes(levels)
        return audible(magnitudes, random_phases(magnitudes, generator), 32, SPEC)

    def inverted(count: int) -> Way:
        def way(levels: Tensor, generator: torch.Generator) -> Tensor:
            magnitudes = inversion.magnitudes(spectrogram.magnitudes(levels))
            return audible(magnitudes, integrated(magnitudes, SPEC, generator), count, SPEC)

        return way

    def as_before(levels: Tensor, _: torch.Generator) -> Tensor:
        """The method of `sottovoce generate` before the neural vocoder."""
        return griffinlim(
            inversion.magnitudes(spectrogram.magnitudes(levels)),
            window=spectrogram.window(SPEC.n_fft),
            n_fft=SPEC.n_fft,
            hop_length=SPEC.hop_length,
            win_length=SPEC.n_fft,
            power=1.0,
            n_iter=32,
            momentum=MOMENTUM,
            length=(levels.shape[1] - 1) * SPEC.hop_length,
            rand_init=True,
        )

    return {
        FIRST: GriffinLim(SPEC, 32).audio,
        "griffin-lim of torchaudio, 32": as_before,
        "griffin-lim, 8": GriffinLim(SPEC, 8).audio,
        **{f"network, gradients, {count}": NeuralVocoder(SPEC, count).audio for count in (0, 8, 16, 32)},
        "network, random phases, 32": by_chance,
        **{f"inversion, gradients, {count}": inverted(count) for count in (8,)},
    }


def coded(levels: Tensor) -> Tensor:
    """Levels after encoding and decoding by the generators' codec, an upper bound for generated music."""
    codec = _codec.shipped()
    found = CONSTANTS.decibels(codec.decode(codec.encode(CONSTANTS.spectrogram(levels[None]))))
    return found[0, :, : levels.shape[1]]


def figures(
    methods: dict[str, Way], tracks: Sequence[Tensor], change: Callable[[Tensor], Tensor] = lambda levels: levels
) -> dict[str, dict[str, float]]:
    """Means over tracks `[samples]`; cost in core seconds per second of audio, and relative to the first."""
    torch.set_num_threads(1)
    found: dict[str, list[list[float]]] = {name: [] for name in methods}
    for audio in tracks:
        levels = change(spectrogram.decibels(audio[None], SPEC)[0])
        for name, method in methods.items():
            begun = time.process_time()
            made = method(levels, torch.Generator().manual_seed(0))
            spent = time.process_time() - begun
            found[name].append([*compared(audio, made), spent / len(audio) * SPEC.sample_rate])
    names = ("convergence", "linear_distance_db", "mel_distance_db", "resolutions", "seconds_a_second")
    means = {name: dict(zip(names, np.mean(values, axis=0).tolist(), strict=True)) for name, values in found.items()}
    first = next(iter(means.values()))["seconds_a_second"]
    return {
        name: {key: round(value, 3) for key, value in some.items()}
        | {"cost": round(some["seconds_a_second"] / first, 2), "tracks": len(tracks)}
        for name, some in means.items()
    }


def compared(audio: Tensor, made: Tensor) -> tuple[float, float, float, float]:
    """Spectral convergence, log-spectral distances (linear and mel, dB), and a multi-resolution distance.

    The last follows Yamamoto et al. ("Parallel WaveGAN", ICASSP 2020): convergence plus mean distance of logarithms.
    """
    one, other = (spectrogram.stft(some[None], SPEC.n_fft, SPEC.hop_length).abs()[0] for some in (audio, made))
    bank = spectrogram.mel_bank(SPEC)
    several = []
    for length in RESOLUTIONS:
        wanted, found = (spectrogram.stft(some[None], length, length // 4).abs() for some in (audio, made))
        several.append(_convergence(wanted, found) + float((_log(wanted) - _log(found)).abs().mean()))
    return _convergence(one, other), _distance(one, other), _distance(bank @ one, bank @ other), float(np.mean(several))


def _convergence(wanted: Tensor, found: Tensor) -> float:
    return float((wanted - found).norm() / wanted.norm())


def _distance(wanted: Tensor, found: Tensor) -> float:
    """Distance of levels in dB: root mean square over bands or bins, then the mean over frames."""
    return float((20 / np.log(10) * (_log(wanted) - _log(found))).square().mean(dim=0).sqrt().mean())


def _log(magnitudes: Tensor) -> Tensor:
    return torch.log(magnitudes + FLOOR)


def _excerpt(track: Track) -> Tensor:
    """Some whole frames of a track, mono, at the features' loudness."""
    audio = torch.from_numpy(track.audio.mean(axis=1)).float()
    audio = level(resampled(audio, track.rate, SPEC.sample_rate), SPEC)
    audio = audio[round(START_SECONDS * SPEC.sample_rate) :][: round(SECONDS * SPEC.sample_rate)]
    return audio[: len(audio) // SPEC.hop_length * SPEC.hop_length]


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
