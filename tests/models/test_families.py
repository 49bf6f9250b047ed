import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.validators import ModuleValidator

from sottovoce.models import interfaces, parameters
from sottovoce.models.interfaces import Batch
from sottovoce_client.training.unit_gradients import UnitGradients

CLASSES = 3


@pytest.fixture
def model(family, spec):
    """Every parameter random: zero ones would hide gradients."""
    size = parameters.initial(family, spec, CLASSES, seed=0).size
    vector = np.random.default_rng(0).standard_normal(size).astype(np.float32) / 4
    return parameters.model_of(family, spec, CLASSES, vector)


def batch_of(shape, lengths, seed=0):
    rng = np.random.default_rng(seed)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    features = torch.from_numpy(rng.standard_normal((*mask.shape, *shape)).astype(np.float32))
    features[~mask] = 0
    return Batch(features, torch.from_numpy(rng.integers(0, CLASSES, len(lengths))), mask)


def test_opacus_can_take_per_example_gradients(model):
    assert ModuleValidator.validate(model.train(), strict=False) == []


def test_training_changes_nothing_but_parameters(model):
    assert list(model.buffers()) == []
    assert not any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in model.modules())


def test_a_segment_is_judged_by_itself(model, family, shape_of):
    features = batch_of(shape_of(family), [1] * 4).features[:, 0]
    alone = torch.cat([model(row[None]) for row in features])
    assert torch.allclose(model(features), alone, atol=1e-5)


def test_probabilities_are_probabilities(family):
    found = family.probabilities(torch.randn(5, CLASSES) * 10)
    assert torch.allclose(found.sum(dim=1), torch.ones(5))
    assert (found >= 0).all()


def test_a_loss_is_given_for_each_example_and_falls_with_the_right_score(family):
    outputs = torch.zeros(2, CLASSES)
    outputs[1, 2] = 5.0
    losses = family.loss(outputs, torch.tensor([2, 2]))
    assert losses.shape == (2,)
    assert 0 <= losses[1] < losses[0]


def test_augmentation_keeps_examples_apart(family, shape_of):
    features = batch_of(shape_of(family), [1] * 4).features[:, 0]
    other = features.clone()
    other[1] = 9.0
    one, two = (family.augment(each, torch.Generator().manual_seed(3)) for each in (features, other))
    assert one.shape == features.shape
    assert torch.equal(one[[0, 2, 3]], two[[0, 2, 3]])


def test_rows_of_padding_add_nothing_to_a_step(family, model, shape_of, monkeypatch):
    monkeypatch.setattr(type(family), "augment", lambda self, features, _: features)  # it draws for each row
    gradients = UnitGradients(family, model, 0.1)
    sampled, padding = batch_of(shape_of(family), [1, 3, 2]), batch_of(shape_of(family), [2, 3], seed=1)
    order = torch.tensor([3, 0, 4, 2, 1])
    fields = ("features", "targets", "mask")
    both = Batch(*(torch.cat([getattr(sampled, name), getattr(padding, name)])[order] for name in fields))
    alone = gradients.sum(sampled, torch.ones(3), torch.Generator())
    among = gradients.sum(both, torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0])[order], torch.Generator())
    assert alone.norm() > 0.01
    assert (alone - among).norm() <= 1e-6 * alone.norm()


def test_first_outputs_prefer_no_class(family, spec, shape_of):
    model = parameters.model_of(family, spec, CLASSES, parameters.initial(family, spec, CLASSES, seed=0))
    outputs = model(batch_of(shape_of(family), [1]).features[:, 0])
    assert outputs.std() < 0.2


@settings(max_examples=15)
@given(lengths=st.lists(st.integers(1, 3), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_a_units_gradient_is_that_of_its_mean_loss(unaugmented, spec, shape_of, lengths, seed):
    family = unaugmented
    size = parameters.initial(family, spec, CLASSES, seed=0).size
    vector = np.random.default_rng(seed).standard_normal(size).astype(np.float32) / 4
    batch = batch_of(shape_of(family), lengths, seed)
    weights = torch.linspace(0.5, 2.0, len(lengths))
    clip = 0.3
    expected = torch.zeros(size)
    plain = parameters.model_of(family, spec, CLASSES, vector)
    for row, length in enumerate(lengths):
        outputs = plain(batch.features[row, :length])
        loss = weights[row] * family.loss(outputs, batch.targets[row].expand(length)).mean()
        parts = torch.autograd.grad(loss, list(interfaces.trainable(plain).values()))
        gradient = torch.cat([part.flatten() for part in parts])
        expected += gradient * min(1.0, clip / (float(gradient.norm()) + 1e-6))
    hooked = UnitGradients(family, parameters.model_of(family, spec, CLASSES, vector), clip)
    assert torch.allclose(hooked.sum(batch, weights, torch.Generator()), expected, atol=1e-5)
