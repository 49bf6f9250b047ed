import torch

from sottovoce.models.generator import _outline
from sottovoce.models.generator._outline import LEVELS, NUMBERS, PARTS, Outline, statistics, values
from sottovoce_simulations.shipped_weights.train_codec import fit_outline


def clips(count, seed=0, frames=173):
    """Noise, each with a spectrum, a level and a period of its own."""
    generator = torch.Generator().manual_seed(seed)
    period = torch.randint(5, 40, (count, 1), generator=generator)
    pulse = (torch.arange(frames) % period == 0).float()[:, None]
    spectrum = torch.randn(count, 64, 1, generator=generator)
    return spectrum + pulse + 0.3 * torch.randn(count, 64, frames, generator=generator)


def test_statistics_are_what_they_are_called():
    features = torch.zeros(1, 64, 100)
    features[:, :2, ::10] = 1.0  # a beat every ten frames, in the lowest part
    found = statistics(features)[0]
    mean, deviation, change, alike = found.split([PARTS, PARTS, PARTS, len(_outline.LAGS)])
    assert torch.isclose(mean[0], torch.tensor(0.1))
    assert torch.isclose(deviation[0], torch.tensor(0.3))
    assert torch.isclose(change[0], torch.tensor(20 / 99), atol=0.02)
    assert mean[1:].abs().max() == 0
    assert _outline.LAGS[int(alike.argmax())] == 10


def test_a_clip_of_two_frames_has_an_outline():
    assert statistics(torch.zeros(1, 64, 2)).isfinite().all()


def test_the_mean_clip_is_the_middle_one_and_the_rest_is_spread_evenly():
    features = clips(200)
    numbers = fit_outline(features).encode(features)
    assert numbers.shape == (200, NUMBERS)
    assert numbers.min() >= 0
    assert numbers.max() < LEVELS
    found = values(numbers)
    assert found.mean(dim=0).abs().max() < 0.2
    assert torch.allclose(found.std(dim=0), torch.ones(NUMBERS), atol=0.3)


def test_what_lies_far_out_is_drawn_in():
    outline = Outline(torch.zeros(_outline.STATISTICS), torch.ones(_outline.STATISTICS, NUMBERS))
    assert int(outline.encode(torch.full((1, 64, 40), 1e3)).max()) == LEVELS - 1
