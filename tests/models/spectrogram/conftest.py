"""Generators and editors on spectrograms, small enough for exhaustive tests."""

from functools import cache

import numpy as np
import pytest
import torch

from sottovoce.features.extract import default_spec
from sottovoce.features.spec import FeatureSpec, View
from sottovoce.models import discovery, parameters
from sottovoce.models.generator import _codec
from sottovoce.models.interfaces import Batch

CLASSES = 3
FAMILIES = [(task, name) for task in ("generator", "editor") for name in discovery.families(task)]


@pytest.fixture(params=FAMILIES, ids=lambda pair: "-".join(pair))
def family(request):
    return discovery.family(*request.param)


@pytest.fixture
def spec(family):
    """A spectrogram small enough to train on in milliseconds."""
    bands = _codec.BANDS if family.task == "generator" else 32
    return FeatureSpec(version=default_spec(View.SPECTROGRAM).version, n_mels=bands, n_fft=512, segment_seconds=0.75)


@cache
def _size(family, spec):
    return parameters.initial(family, spec, CLASSES, seed=0).size


@pytest.fixture
def vector_of(spec):
    """Every parameter random: zero ones would hide gradients."""

    def make(family, seed=0, scale=0.1):
        return scale * np.random.default_rng(seed).standard_normal(_size(family, spec)).astype(np.float32)

    return make


@pytest.fixture
def model(family, spec, vector_of):
    return parameters.model_of(family, spec, CLASSES, vector_of(family))


@pytest.fixture
def batch_of():
    """Random segments of several tracks: `batch_of(bands, frames, lengths)`, lengths in segments."""

    def make(bands, frames, lengths, *, seed=0, scale=1.0):
        rng = np.random.default_rng(seed)
        mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
        features = torch.from_numpy(rng.standard_normal((*mask.shape, bands, frames)).astype(np.float32) * scale)
        features[~mask] = 0
        return Batch(features, torch.from_numpy(rng.integers(0, CLASSES, len(lengths))), mask)

    return make
