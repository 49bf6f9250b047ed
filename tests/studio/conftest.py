"""What tests of everything that makes or judges sound share."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from sottovoce.features.extract import default_spec
from sottovoce.features.normalisation import shipped
from sottovoce.features.spec import View
from sottovoce.models import discovery, parameters
from sottovoce.release.load import Release


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


def _unperiodic(seconds, rate, channels=1, seed=0):
    """Music that never repeats: tones whose pitch and loudness wander, all below a tenth of the sample rate.

    `[frames, channels]`. A join without a cross-fade is visible at any position: no later stretch continues an earlier
    one, and neighbouring samples are close.
    """
    rng = np.random.default_rng(seed)
    frames, steps = round(seconds * rate), max(4, round(4 * seconds))
    places = np.linspace(0, steps - 1, frames)
    tones = 12
    curves = CubicSpline(np.arange(steps), rng.standard_normal((steps, 2 * tones, channels)))(places)
    lowest, highest = 90.0, min(900.0, rate / 10)
    pitches = lowest * (highest / lowest) ** (np.arange(tones) / tones)[:, None] * 2 ** (0.1 * curves[:, :tones])
    phases = 2 * np.pi * np.cumsum(pitches.clip(lowest / 2, highest), axis=0) / rate + rng.uniform(
        0, 6, (tones, channels)
    )
    loudness = 0.05 * np.exp(0.4 * curves[:, tones:].clip(-2, 2))
    return (loudness * np.sin(phases)).sum(axis=1)


@pytest.fixture(scope="session")
def unperiodic():
    return _unperiodic


NEAR, BESIDE, WORST = 3, 400, 2.0
"""Samples on each side of a join in which its step shows; samples on each side of it for comparison; and the largest
allowed ratio of the step at the join to the largest step beside it."""


def _assert_no_click(audio, joins):
    """At each join, neither the step between samples nor its change is larger than beside it.

    Args:
        audio: `[frames]` or `[frames, channels]`.
        joins: the first frame after each join; a cross-fade has two, where it starts and where it has ended.
    """
    audio = np.asarray(audio, dtype=np.float64).reshape(len(audio), -1)
    for order, what in ((1, "step"), (2, "change of step")):
        steps = np.abs(np.diff(audio, order, axis=0))
        for join in joins:
            first, last = max(0, join - NEAR), join + NEAR
            beside = np.concatenate([steps[max(0, first - BESIDE) : first], steps[last : last + BESIDE]])
            worst = (steps[first:last].max(axis=0) / beside.max(axis=0)).max()
            assert worst <= WORST, f"The {what} at frame {join} is {worst:.1f} times the largest one beside it."


@pytest.fixture(scope="session")
def assert_no_click():
    return _assert_no_click
