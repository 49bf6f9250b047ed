import math

import numpy as np
import pytest
import torch

from sottovoce.models import parameters, registry
from sottovoce.models.generator.rnn import GROUP, grouped

RNN = registry.family("generator", "rnn")
CLASSES = 3


@pytest.fixture
def family():
    return RNN


def test_a_group_is_judged_by_those_before_it_alone(model, spec):
    features = torch.randn(1, spec.n_mels, 40)
    later = features.clone()
    later[:, :, 20:] += 1
    styles = torch.eye(CLASSES)[:1]
    found, other = (model(grouped(each), styles) for each in (features, later))
    for one, two in zip(found, other, strict=True):
        # After so many groups the distribution is of the next one.
        assert torch.allclose(one[:, : 20 // GROUP], two[:, : 20 // GROUP], atol=1e-6)
        assert not torch.allclose(one[:, 20 // GROUP :], two[:, 20 // GROUP :], atol=1e-6)


def test_the_loss_is_the_density_of_the_mixture(model, spec):
    features = torch.randn(2, spec.n_mels, 2 * GROUP)
    targets = torch.tensor([0, 2])
    found = RNN.losses(model, features, targets, torch.Generator())
    groups = grouped(features)
    before = torch.cat([torch.zeros_like(groups[:, :1]), groups[:, :-1]], dim=1)
    log_weights, means, log_scales = model(before, torch.eye(CLASSES)[targets])
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=log_weights),
        torch.distributions.Independent(torch.distributions.Normal(means, log_scales.exp().expand_as(means)), 1),
    )
    wanted = -mixture.log_prob(groups.flatten(2)).sum(dim=1) / (2 * GROUP * spec.n_mels)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_drawing_step_by_step_is_the_same_as_all_at_once(model, spec):
    groups = grouped(torch.randn(2, spec.n_mels, 6 * GROUP))
    styles = torch.eye(CLASSES)[[1, 2]]
    whole, state, steps = model(groups, styles), None, []
    for number in range(6):
        found, state = model.step(groups[:, number : number + 1], styles, state)
        steps.append(found)
    for index, part in enumerate(whole):
        assert torch.allclose(torch.cat([step[index] for step in steps], dim=1), part, atol=1e-5)


def test_samples_are_as_likely_as_the_model_says(spec, model):
    """The mean loss of what a model draws is its entropy, so both estimates of it must agree."""
    pieces = RNN.sample(model, torch.zeros(64, dtype=torch.long), torch.Generator().manual_seed(3))
    drawn = torch.cat([next(pieces) for _ in range(12)], dim=2)
    loss = float(RNN.losses(model, drawn, torch.zeros(64, dtype=torch.long), torch.Generator()).mean().detach())
    groups = grouped(drawn)
    before = torch.cat([torch.zeros_like(groups[:, :1]), groups[:, :-1]], dim=1)
    _, _, log_scales = model(before, torch.eye(CLASSES)[torch.zeros(64, dtype=torch.long)])
    of_one_component = float(log_scales.mean().detach()) + 0.5 * math.log(2 * math.pi * math.e)
    assert loss == pytest.approx(of_one_component, abs=0.05)


def test_a_toy_problem_is_learnt(spec):
    """Two styles that differ in which bands sound: the loss falls, and what is drawn sounds like its style."""
    rng = np.random.default_rng(0)
    targets = torch.arange(40) % 2
    features = torch.from_numpy(0.1 * rng.standard_normal((40, spec.n_mels, 32)).astype(np.float32))
    half = spec.n_mels // 2
    features[targets == 0, :half] += 1.5
    features[targets == 1, half:] += 1.5
    model = parameters.model_of(RNN, spec, 2, parameters.initial(RNN, spec, 2, seed=0)).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    first = None
    for _ in range(80):
        loss = RNN.losses(model, features, targets, torch.Generator()).mean()
        first = float(loss.detach()) if first is None else first
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < first - 0.8
    pieces = RNN.sample(model.eval(), torch.tensor([0, 1]), torch.Generator().manual_seed(0))
    drawn = torch.cat([next(pieces) for _ in range(20)], dim=2)[:, :, 20:]
    low, high = drawn[:, :half].mean(dim=(1, 2)), drawn[:, half:].mean(dim=(1, 2))
    assert low[0] > high[0] + 1
    assert high[1] > low[1] + 1
