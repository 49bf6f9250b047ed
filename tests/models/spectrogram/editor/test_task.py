import numpy as np
import pytest
import torch

from sottovoce.models import discovery, parameters
from sottovoce.models.editor.task import ERROR, ERRORS, LOSS, TASK, TRACKS

CLASSES = ("fugue", "reel", "tango")


def test_names_and_numbers_are_as_many(family, model, batch_of, spec):
    assert discovery.task("editor") is TASK
    names = TASK.counters(3)
    assert len(set(names)) == 6 + len(ERRORS)
    batch = batch_of(spec.n_mels, spec.frames, [2, 1])
    one, two = (TASK.measure(family, model, batch, 3) for _ in range(2))
    assert np.array_equal(one, two)
    assert one.dtype == np.int64
    assert one.shape == (len(names),)
    assert one[:3].sum() == 2 * TRACKS


def test_an_untrained_editor_is_worth_what_interpolation_is(family, spec, batch_of):
    model = parameters.model_of(family, spec, 3, parameters.initial(family, spec, 3, seed=0))
    figures = TASK.metrics(TASK.measure(family, model, batch_of(spec.n_mels, spec.frames, [2, 3]), 3), CLASSES)
    assert figures["repair_error"] == pytest.approx(figures["interpolation_error"], rel=0.1)
    assert figures["interpolation_error"] > 0.5


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), 1e30])
def test_a_broken_model_counts_as_the_worst(batch_of, spec, broken):
    class Broken(torch.nn.Module):
        levels = discovery.family("editor", "rnn").build(spec, 3).levels

    class Family:
        def losses(self, model, features, targets, generator):
            return torch.full((len(features),), broken)

        def restore(self, model, values, missing, noisy):
            return torch.full_like(values, broken)

    figures = TASK.metrics(TASK.measure(Family(), Broken(), batch_of(spec.n_mels, 30, [1, 2]), 3), CLASSES)
    assert figures["loss"] == pytest.approx(LOSS.most)
    assert figures["repair_error"] == figures["denoise_error"] == pytest.approx(ERROR.most)
    assert figures["interpolation_error"] < ERROR.most


def test_one_track_adds_no_more_than_the_norm_that_noise_is_measured_by(family, model, batch_of, spec):
    for seed in range(3):
        counted = TASK.measure(family, model, batch_of(spec.n_mels, 40, [1], seed=seed), 3)
        assert (counted**2).sum() <= TASK.norm_squared(3)
    values = torch.tensor([-5.0, 5.0, 1e30, torch.nan])
    assert LOSS.steps_of(values).tolist() == [-LOSS.reach, 0, LOSS.reach, LOSS.reach]
    assert ERROR.steps_of(values).tolist() == [-ERROR.reach, -188, ERROR.reach, ERROR.reach]


def test_sums_of_labels_are_as_one_label(family, model, batch_of, spec):
    parts = [batch_of(spec.n_mels, 40, [1, 1], seed=seed) for seed in (1, 2)]
    sums = sum(TASK.measure(family, model, part, 3) for part in parts)
    figures = TASK.metrics(sums, CLASSES)
    alone = [TASK.metrics(TASK.measure(family, model, part, 3), CLASSES) for part in parts]
    assert figures["tracks"] == 4
    for name in ("loss", *ERRORS):
        assert figures[name] == pytest.approx(np.mean([each[name] for each in alone]), abs=ERROR.step)
