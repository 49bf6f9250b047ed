import numpy as np
import pytest
import torch

from sottovoce.models import discovery
from sottovoce.models.generator.task import LOSS, TASK, TRACKS

CLASSES = ("fugue", "reel", "tango")


class Constant:
    """Predefined losses, for any input."""

    def __init__(self, *losses):
        self._losses = torch.tensor(losses)

    def losses(self, model, features, targets, generator):
        return self._losses[: len(features)]


def measured(losses, lengths, targets, batch_of):
    batch = batch_of(4, 8, lengths)
    batch.targets[:] = torch.tensor(targets)
    return TASK.measure(Constant(*losses), torch.nn.Identity(), batch, len(CLASSES))


def test_names_and_numbers_are_as_many():
    assert discovery.task("generator") is TASK
    assert len(set(TASK.counters(3))) == 6


def test_a_track_counts_by_the_mean_of_its_segments(batch_of):
    figures = TASK.metrics(measured([1.0, 3.0, -0.5], [2, 1], [0, 2], batch_of), CLASSES)
    assert figures["tracks"] == 2
    assert figures["loss"] == pytest.approx(0.75, abs=LOSS.step)
    assert figures["loss_by_style"] == {
        "fugue": pytest.approx(2.0, abs=LOSS.step),
        "reel": None,
        "tango": pytest.approx(-0.5, abs=LOSS.step),
    }


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), 1e30])
def test_a_broken_model_counts_as_the_worst(batch_of, broken):
    counted = measured([broken], [1], [1], batch_of)
    assert counted[4] == LOSS.reach
    assert TASK.metrics(counted, CLASSES)["loss"] == pytest.approx(LOSS.most)


@pytest.mark.parametrize("loss", [-1e30, -3.0, 0.96, 1e30, float("nan")])
def test_one_track_adds_no_more_than_the_norm_that_noise_is_measured_by(batch_of, loss):
    assert (measured([loss], [1], [1], batch_of) ** 2).sum() <= TASK.norm_squared(3)


def test_noisy_sums_have_figures_within_their_range():
    figures = TASK.metrics(np.array([-900, 400, 0, 5000, -90_000, 7]), CLASSES, noise_std=1000.0)
    assert figures["tracks"] == 0
    assert LOSS.least <= figures["loss"] <= LOSS.most
    assert figures["loss_by_style"]["fugue"] is None
    assert figures["noise"]["loss"] > 0


def test_sums_of_labels_are_as_one_label(batch_of):
    one, two = measured([1.0, 2.0], [1, 1], [0, 1], batch_of), measured([4.0], [1], [1], batch_of)
    assert TASK.metrics(one + two, CLASSES)["loss"] == pytest.approx(7 / 3, abs=LOSS.step)


def test_real_families_measure_the_same_twice(family, model, batch_of, spec):
    batch = batch_of(spec.n_mels, spec.frames, [2, 1])
    one, two = (TASK.measure(family, model, batch, len(CLASSES)) for _ in range(2))
    assert np.array_equal(one, two)
    assert one.dtype == np.int64
    assert one[:3].sum() == 2 * TRACKS
