import math
from dataclasses import replace

import pytest
import torch

from sottovoce.errors import ConfigurationError
from sottovoce.models import parameters, registry
from sottovoce.models.generator import _codec
from sottovoce.models.generator._codec import GROUP, grouped

RNN = registry.family("generator", "rnn")
CLASSES = 3


@pytest.fixture
def family():
    return RNN


def codes_of(features):
    codec = _codec.shipped()
    return codec.encode(codec.components(grouped(features)))


def past_of(codes):
    known = _codec.shipped().decode(codes)
    return torch.cat([torch.zeros_like(known[:, :1]), known[:, :-1]], dim=1)


def test_a_group_is_judged_by_those_before_it_alone(model, spec):
    codes = codes_of(torch.randn(1, spec.n_mels, 10 * GROUP))
    later = codes.clone()
    later[:, 5:] = (later[:, 5:] + 7) % 256
    one, two = (model(past_of(each), torch.eye(CLASSES)[:1], codes) for each in (codes, later))
    assert torch.allclose(one[:, :6], two[:, :6], atol=1e-5)  # the sixth is judged by the first five
    assert not torch.allclose(one[:, 6:], two[:, 6:], atol=1e-5)


def test_a_level_is_judged_by_those_before_it_alone(model, spec):
    codes = codes_of(torch.randn(1, spec.n_mels, 3 * GROUP))
    other = codes.clone()
    other[..., 3] = (other[..., 3] + 1) % 256
    one, two = (model(past_of(codes), torch.eye(CLASSES)[:1], each) for each in (codes, other))
    assert torch.allclose(one[..., :3], two[..., :3])
    assert not torch.allclose(one[..., 4:], two[..., 4:])


def test_the_loss_is_the_log_probability_of_the_numbers(model, spec):
    """By summing over all numbers of a level, which must give 1."""
    codes = codes_of(torch.randn(1, spec.n_mels, GROUP)).repeat(256, 1, 1)
    codes[:, 0, -1] = torch.arange(256)
    nats = model(past_of(codes), torch.eye(CLASSES)[:1].repeat(256, 1), codes)
    assert float(torch.exp(-nats[:, 0, -1]).sum().detach()) == pytest.approx(1, rel=1e-4)
    features = torch.randn(2, spec.n_mels, 4 * GROUP + 3)
    numbers, targets = codes_of(features), torch.tensor([0, 2])
    wanted = model(past_of(numbers), torch.eye(CLASSES)[targets], numbers).mean(dim=(1, 2))
    assert torch.allclose(RNN.losses(model, features, targets, torch.Generator()), wanted, atol=1e-5)


def test_drawing_step_by_step_is_the_same_as_all_at_once(model, spec):
    past = past_of(codes_of(torch.randn(2, spec.n_mels, 6 * GROUP)))
    styles = torch.eye(CLASSES)[[1, 2]]
    whole, state, steps = model.states(past, styles)[0], None, []
    for number in range(6):
        found, state = model.states(past[:, number : number + 1], styles, state)
        steps.append(found)
    assert torch.allclose(torch.cat(steps, dim=1), whole, atol=1e-5)


def test_what_is_drawn_is_made_of_codewords(model):
    piece = next(RNN.sample(model, torch.tensor([1]), torch.Generator().manual_seed(3)))
    codec = _codec.shipped()
    components = codec.components(grouped(piece))
    # What lies beyond ±CLIP was cut off, so that a few numbers may change on the way.
    restored = codec.decode(codec.encode(components))
    assert float((restored - components).norm()) < 0.3 * float(components.norm())


def test_a_toy_problem_is_learnt(spec):
    """Two styles that differ in which bands sound: the loss falls, and what is drawn sounds like its style."""
    targets, half = torch.arange(16) % 2, spec.n_mels // 2
    features = 0.1 * torch.randn(16, spec.n_mels, 8 * GROUP, generator=torch.Generator().manual_seed(0))
    features[targets == 0, :half] += 1.5
    features[targets == 1, half:] += 1.5
    model = parameters.model_of(RNN, spec, 2, parameters.initial(RNN, spec, 2, seed=0)).train()
    optimizer, generator, losses = torch.optim.Adam(model.parameters(), lr=0.01), torch.Generator(), []
    for _ in range(40):
        loss = RNN.losses(model, features, targets, generator).mean()
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[0] == pytest.approx(math.log(256), abs=0.3)
    assert losses[-1] < losses[0] - 2
    pieces = RNN.sample(model.eval(), torch.tensor([0, 1]), torch.Generator().manual_seed(0))
    drawn = torch.cat([next(pieces) for _ in range(3)], dim=2)
    low, high = drawn[:, :half].mean(dim=(1, 2)), drawn[:, half:].mean(dim=(1, 2))
    assert low[0] > high[0] + 0.5
    assert high[1] > low[1] + 0.5


def test_a_spectrogram_of_other_bands_is_refused(spec):
    with pytest.raises(ConfigurationError, match="256 bands"):
        RNN.build(replace(spec, n_mels=240), CLASSES)
