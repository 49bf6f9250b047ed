import numpy as np
import pytest
import torch

from sottovoce.models import discovery
from sottovoce.models.generator.task import LOSS, TASK

CLASSES = ("fugue", "reel", "tango")


class Constant:
    """Losses as told, whatever is heard."""

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
    assert figures["loss"] == pytest.approx(0.75)
    assert figures["loss_by_style"] == {"fugue": pytest.approx(2.0), "reel": None, "tango": pytest.approx(-0.5)}


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), 1e30])
def test_a_broken_model_counts_as_the_worst(batch_of, broken):
    counted = measured([broken], [1], [1], batch_of)
    assert counted[4] == LOSS.steps == 120_000
    assert TASK.metrics(counted, CLASSES)["loss"] == pytest.approx(LOSS.most)


def test_a_loss_tells_so_many_bits_and_no_more(batch_of):
    """What no noise covers is as coarse as it may be; docs/security.md says how much that is."""
    counted = [measured([loss], [1], [1], batch_of)[4] for loss in (-1e30, -3.0, -2.0, 0.96371, 0.96374, 0.9639)]
    assert counted[:3] == [0, 0, 0]
    assert counted[3] == counted[4] == counted[5] - 2
    assert np.log2(LOSS.steps + 1) < 17


def test_sums_of_labels_are_as_one_label(batch_of):
    one, two = measured([1.0, 2.0], [1, 1], [0, 1], batch_of), measured([4.0], [1], [1], batch_of)
    assert TASK.metrics(one + two, CLASSES)["loss"] == pytest.approx(7 / 3)
    assert (np.concatenate([one, two]) >= 0).all()


def test_real_families_measure_the_same_twice(family, model, batch_of, spec):
    batch = batch_of(spec.n_mels, spec.frames, [2, 1])
    one, two = (TASK.measure(family, model, batch, len(CLASSES)) for _ in range(2))
    assert np.array_equal(one, two)
    assert one.dtype == np.int64
    assert one[:3].sum() == 2
