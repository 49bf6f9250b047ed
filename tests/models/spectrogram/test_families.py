import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.validators import ModuleValidator

from sottovoce.models import interfaces, parameters
from sottovoce_client.training.unit_gradients import UnitGradients

CLASSES = 3
FEW_FRAMES = 32
"""Of tracks whose gradients are compared: shorter ones cost less and show the same."""


def losses_of(family, model, features, targets, seed=0):
    return family.losses(model, features, targets, torch.Generator().manual_seed(seed))


def test_opacus_can_take_per_example_gradients(model):
    assert ModuleValidator.validate(model.train(), strict=False) == []


def test_training_changes_nothing_but_parameters(model):
    assert list(model.buffers()) == []


def test_a_segments_loss_is_its_own(model, family, batch_of, spec):
    batch = batch_of(spec.n_mels, spec.frames, [1] * 4)
    features = batch.features[:, 0]
    other = features.clone()
    other[1] = 3.0
    one, two = (losses_of(family, model, each, batch.targets) for each in (features, other))
    assert one.shape == (4,)
    assert torch.allclose(one[[0, 2, 3]], two[[0, 2, 3]], atol=1e-5)
    assert not torch.isclose(one[1], two[1])


@settings(max_examples=10)
@given(
    lengths=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    frames=st.sampled_from([24, 32, 45, 64, 97]),
    scale=st.sampled_from([0.0, 0.1, 1.0, 4.0, 1e3]),
    clip=st.sampled_from([1e-3, 0.1, 1.0]),
    seed=st.integers(0, 99),
)
def test_no_track_moves_a_step_further_than_the_clip(
    family, spec, vector_of, batch_of, lengths, frames, scale, clip, seed
):
    """Over shapes, lengths and loudness; with all of a track's segments in its one gradient."""
    batch = batch_of(spec.n_mels, frames, lengths, seed=seed, scale=scale)
    weights = torch.linspace(0.5, 50.0, len(lengths))
    vector = vector_of(family, seed)
    gradients = UnitGradients(family, parameters.model_of(family, spec, CLASSES, vector), clip)
    rows, norms = gradients.rows(batch, weights, torch.Generator().manual_seed(seed))
    assert rows.shape == (len(lengths), vector.size)
    assert (rows.double().norm(dim=1) <= clip).all()
    assert (norms[: len(lengths)] >= 0).all()
    assert (rows[:, ~gradients.private] == 0).all()


@settings(max_examples=4)
@given(lengths=st.lists(st.integers(1, 3), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_a_tracks_gradient_is_that_of_its_mean_loss(family, spec, vector_of, batch_of, lengths, seed):
    """Compared with plain differentiation of one track's loss at a time, from the same random draws."""
    batch, vector, clip = batch_of(spec.n_mels, FEW_FRAMES, lengths, seed=seed), vector_of(family, seed), 0.3
    weights = torch.linspace(0.5, 2.0, len(lengths))
    hooked = UnitGradients(family, parameters.model_of(family, spec, CLASSES, vector), clip)
    rows, norms = hooked.rows(batch, weights, torch.Generator().manual_seed(seed))
    plain = parameters.model_of(family, spec, CLASSES, vector).train()
    targets = batch.targets.repeat_interleave(batch.mask.shape[1])
    losses = losses_of(family, plain, batch.features.flatten(0, 1), targets, seed).view(batch.mask.shape)
    wanted = interfaces.trainable(plain)
    for row, length in enumerate(lengths):
        loss = weights[row] * losses[row, :length].mean()
        parts = torch.autograd.grad(loss, list(wanted.values()), retain_graph=True, allow_unused=True)
        gradient = torch.cat(
            [
                (torch.zeros_like(value) if part is None else part).flatten()
                for value, part in zip(wanted.values(), parts, strict=True)
            ]
        )
        assert float(norms[row]) == pytest.approx(float(gradient.norm()), rel=1e-3)
        assert torch.allclose(rows[row], gradient * min(1.0, clip / float(gradient.norm())), atol=1e-5)


@settings(max_examples=4)
@given(lengths=st.lists(st.integers(1, 3), min_size=2, max_size=4), seed=st.integers(0, 99))
def test_a_tracks_gradient_does_not_depend_on_the_others(family, spec, vector_of, batch_of, lengths, seed):
    """Adding or removing a track changes a sum by what that track adds, and by nothing else."""
    model = parameters.model_of(family, spec, CLASSES, vector_of(family, seed))
    gradients = UnitGradients(family, model, 0.3)
    batch = batch_of(spec.n_mels, FEW_FRAMES, lengths, seed=seed)
    changed = batch_of(spec.n_mels, FEW_FRAMES, lengths, seed=seed)
    changed.features[-1] *= -2
    rows = [
        gradients.rows(each, torch.ones(len(lengths)), torch.Generator().manual_seed(seed))[0]
        for each in (batch, changed)
    ]
    assert torch.allclose(rows[0][:-1], rows[1][:-1], atol=1e-6)
    assert not torch.allclose(rows[0][-1], rows[1][-1], atol=1e-6)


def test_a_track_that_overflows_counts_as_nothing(family, spec, vector_of, batch_of):
    batch = batch_of(spec.n_mels, spec.frames, [1, 2, 1])
    batch.features[1] = float("nan")
    model = parameters.model_of(family, spec, CLASSES, vector_of(family))
    rows, _ = UnitGradients(family, model, 0.3).rows(batch, torch.ones(3), torch.Generator())
    assert torch.isfinite(rows).all()
    # The codec makes whole numbers of whatever it is given.
    assert rows[1].norm() == 0 or (family.task, family.name) == ("generator", "rnn")
    assert rows[1].norm() <= 0.3
    assert rows[0].norm() > 0


def test_the_first_model_is_the_same_for_every_caller(family, spec):
    one, other = (parameters.initial(family, spec, CLASSES, seed=4) for _ in range(2))
    assert np.array_equal(one, other)


def test_the_recipes_are_whole(family):
    for private, distributed in ((False, False), (True, False), (True, True)):
        recipe = family.recipe(private=private, distributed=distributed)
        assert recipe.rounds * recipe.local_steps >= 1
