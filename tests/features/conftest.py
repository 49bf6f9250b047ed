import hashlib
from dataclasses import dataclass

import numpy as np
import pytest
import soundfile
import torch

from sottovoce.features.extract import default_spec, summary_names
from sottovoce.features.spec import FeatureSpec

FORMATS = {  # extension: container and encoding for libsndfile
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


@dataclass(frozen=True)
class File:
    """A file as passed to the cache."""

    path: object
    digest: str


@pytest.fixture(params=FORMATS)
def extension(request):
    return request.param


@pytest.fixture(scope="session")
def music():
    """A few seconds of chords with decaying partials: `music(seconds, rate, transpose)`."""

    def make(seconds=9.0, rate=44_100, transpose=0.0, seed=1, tempo=0.4):
        rng = np.random.default_rng(seed)
        wave = np.zeros(round(seconds * rate))
        for start in np.arange(0, seconds - 0.05, tempo):
            first = round(start * rate)
            times = np.arange(min(rate, len(wave) - first)) / rate
            for degree in rng.choice([0, 4, 7, 12, 14], 3, replace=False):
                pitch = 440 * 2 ** ((55 + degree + transpose - 69) / 12)
                partials = sum(np.sin(2 * np.pi * pitch * k * times) / k for k in range(1, 6))
                wave[first : first + rate] += partials * np.exp(-times / 0.2)
        return (0.5 * wave / np.abs(wave).max()).astype(np.float32)

    return make


@pytest.fixture
def write(tmp_path):
    """Writes samples as an audio file and says where."""

    def make(samples, name="track.wav", rate=44_100, encoding=None):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        container, usual = FORMATS[path.suffix[1:]]
        soundfile.write(path, samples, rate, format=container, subtype=encoding or usual)
        return path

    return make


@pytest.fixture
def source():
    """A file with its digest, as a catalogue hands it on."""
    return lambda path: File(path, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture(scope="session")
def raw_spec():
    """Features in their own units."""
    return FeatureSpec()


@pytest.fixture(scope="session")
def spec():
    return default_spec()


@pytest.fixture
def value():
    """Mean over segments of the dimensions with this name prefix, as an array."""

    def of(features, spec, name):
        chosen = [index for index, known in enumerate(summary_names(spec)) if known.startswith(name)]
        assert chosen, name
        return features.summary[:, chosen].mean(axis=0)

    return of


@pytest.fixture(scope="session")
def as_audio():
    return lambda wave: torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))
