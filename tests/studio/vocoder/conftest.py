import numpy as np
import pytest
import torch

from sottovoce.features import spectrogram
from sottovoce.features.extract import default_spec
from sottovoce.features.spec import View
from sottovoce.studio.vocoder.interface import long_audio

SPEC = default_spec(View.SPECTROGRAM)


def _chords(seconds, seed=1):
    rng, rate = np.random.default_rng(seed), SPEC.sample_rate
    wave = np.zeros(round(seconds * rate))
    for start in np.arange(0, seconds - 0.05, 0.5):
        first = round(start * rate)
        times = np.arange(min(rate, len(wave) - first)) / rate
        for degree in rng.choice([0, 4, 7, 12, 14], 3, replace=False):
            pitch = 440 * 2 ** ((55 + degree - 69) / 12)
            partials = sum(np.sin(2 * np.pi * pitch * k * times) / k for k in range(1, 6))
            wave[first : first + rate] += partials * np.exp(-times / 0.3)
    return torch.from_numpy((0.4 * wave / np.abs(wave).max()).astype(np.float32))


def _magnitudes(audio):
    return spectrogram.stft(audio[None], SPEC.n_fft, SPEC.hop_length).abs()[0]


def _convergence(found, wanted):
    frames = min(found.shape[1], wanted.shape[1])
    return float((found[:, :frames] - wanted[:, :frames]).norm() / wanted[:, :frames].norm())


def _again(vocoder, audio, seed=0):
    levels = spectrogram.decibels(audio[None], SPEC)[0]
    return long_audio(vocoder, levels, torch.Generator().manual_seed(seed))


@pytest.fixture(scope="session")
def chords():
    """Decaying chords with partials, mono, of this many seconds."""
    return _chords


@pytest.fixture(scope="session")
def magnitudes():
    """Linear magnitudes of audio."""
    return _magnitudes


@pytest.fixture(scope="session")
def convergence():
    """Spectral convergence: the distance of two magnitudes divided by the norm of the second."""
    return _convergence


@pytest.fixture(scope="session")
def again():
    """A vocoder's audio from the levels of some audio."""
    return _again
