from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

from sottovoce.features.extract import default_spec
from sottovoce.features.normalisation import shipped
from sottovoce.features.spec import FeatureSpec, View
from sottovoce.models import discovery, parameters
from sottovoce.release.load import Release


@pytest.fixture(scope="session")
def spec():
    """A spectrogram small enough to train on in milliseconds."""
    return FeatureSpec(version=default_spec(View.SPECTROGRAM).version, n_mels=32, n_fft=512, segment_seconds=0.75)


@pytest.fixture(params=discovery.families("editor"))
def family(request):
    return discovery.family("editor", request.param)


class Loaded:
    """A release as `sottovoce.release.load` gives it, without the files that it is checked by."""

    expect_task = Release.expect_task

    def __init__(self, task, family, classes=("fugue", "reel", "tango"), seed=0):
        spec = default_spec(View.SPECTROGRAM)
        self.family = discovery.family(task, family)
        vector = parameters.initial(self.family, spec, len(classes), seed)
        self.model = parameters.model_of(self.family, spec, len(classes), vector)
        self.constants = shipped(View.SPECTROGRAM)
        self.manifest = SimpleNamespace(task=task, family=family, features=spec, classes=classes)


@pytest.fixture(scope="session")
def loaded():
    """A release whose model has not learned anything: `loaded(task, family)`."""
    return cache(Loaded)


@pytest.fixture(params=["cnn", "rnn"])
def release(request, loaded):
    return loaded("editor", request.param)


@pytest.fixture
def music():
    """Chords that decay, another one in each channel: `music(seconds, sample_rate, channels)`, `[frames, channels]`."""

    def make(seconds, sample_rate=22050, channels=1):
        times = np.arange(round(seconds * sample_rate)) / sample_rate
        envelope = 0.2 + 0.8 * np.exp(-3 * (times % 0.5))
        chords = [
            sum(np.sin(2 * np.pi * 220 * (1 + number / 7) * partial * times) / partial for partial in (1, 2, 3))
            for number in range(channels)
        ]
        return 0.2 * envelope[:, None] * np.stack(chords, axis=1)

    return make
