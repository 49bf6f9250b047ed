"""Music without seams, and what an autoencoder tells of it."""

from itertools import islice

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from sottovoce.models import discovery, parameters
from sottovoce.models.generator._moments import DRAWN_TOGETHER, FRAMES, SIZE, endless
from sottovoce.models.generator._style_embedding import STYLE
from sottovoce.models.generator.vae import MOMENT, WHOLE, Gaussian

CLASSES = 3
MADE = [discovery.family("generator", name) for name in ("vae", "gan")]


@pytest.fixture(params=MADE, ids=lambda family: family.name)
def family(request):
    return request.param


def autoencoder():
    family, spec = discovery.family("generator", "vae"), discovery.spec_of("generator", "vae")
    vector = parameters.initial(family, spec, CLASSES, 0)
    return parameters.model_of(family, spec, CLASSES, vector)


@pytest.mark.parametrize("context", [1, 7, 40])
def test_pieces_are_what_one_decoding_of_everything_gives(context):
    """Moments of a decoder whose outputs depend on exactly its stated context."""
    taps = torch.randn(1, 1, 2 * context + 1, generator=torch.Generator().manual_seed(0))
    sampled = torch.randn(2, 9 * DRAWN_TOGETHER, 1, generator=torch.Generator().manual_seed(1))
    taken = 0

    def more(count):
        nonlocal taken
        taken += count
        return sampled[:, taken - count : taken]

    def decode(latents):
        found = torch.nn.functional.conv1d(latents.transpose(1, 2), taps, padding=context)
        return found.repeat_interleave(FRAMES, dim=2)

    pieces = torch.cat(list(islice(endless(more, decode, context), 5)), dim=2)
    assert pieces.shape == (2, 1, 5 * DRAWN_TOGETHER * FRAMES)
    assert torch.allclose(pieces, decode(sampled)[:, :, : pieces.shape[2]], atol=1e-5)


def test_there_is_no_seam_between_pieces(family):
    """A change of random numbers far from a seam on either side makes no difference at it: the context is enough."""
    spec = discovery.spec_of("generator", family.name)
    model = parameters.model_of(family, spec, CLASSES, parameters.initial(family, spec, CLASSES, 0))
    pieces = list(islice(family.sample(model, torch.tensor([1]), torch.Generator().manual_seed(2)), 4))
    whole = torch.cat(pieces, dim=2)
    steps = whole.diff(dim=2).square().mean(dim=(0, 1))
    length = pieces[0].shape[2]
    seams = steps[length - 1 :: length]
    # A moment's first frame differs from the last one's as much wherever it is.
    others = steps[FRAMES - 1 :: FRAMES]
    assert seams.max() <= 2 * others.max()


def test_the_divergence_is_that_of_normal_distributions():
    generator = torch.Generator().manual_seed(0)
    one, other = (Gaussian.of(2 * torch.randn(3, 5, 8, generator=generator)) for _ in range(2))
    expected = kl_divergence(*(Normal(each.means, torch.exp(0.5 * each.spreads)) for each in (one, other)))
    assert torch.allclose(one.divergence(other), expected.sum(dim=-1), rtol=1e-4)
    assert torch.allclose(one.divergence(one), torch.zeros(3, 5))


def test_restyled_as_what_it_is_nothing_changes_and_else_something_does():
    network = autoencoder()
    values = torch.randn(1, 20, SIZE, generator=torch.Generator().manual_seed(0))
    styles = torch.randn(2, STYLE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        same, changed = network.restyled(values, styles[[0, 0]]), network.restyled(values, styles)
        whole, moment = network.posterior(values)
        said, _ = network.reconstruction(moment.means, torch.cat([styles[:1], whole.means], dim=1))
    assert same.shape == (2, 20, SIZE)
    assert torch.allclose(same[0], same[1])
    assert torch.allclose(same[0], said[0], atol=1e-4)
    assert torch.allclose(changed[0], same[0], atol=1e-5)
    assert not torch.allclose(changed[1], changed[0], atol=1e-3)


def test_what_comes_later_does_not_change_what_is_expected():
    network = autoencoder()
    moments = torch.randn(1, 30, MOMENT, generator=torch.Generator().manual_seed(0))
    changed = moments.clone()
    changed[:, 20:] = 3.0
    told = torch.zeros(1, STYLE + WHOLE)
    with torch.no_grad():
        before, after = (network.moment_prior(each, told).means for each in (moments, changed))
    assert torch.equal(before[:, :21], after[:, :21])
    assert not torch.allclose(before[:, 21:], after[:, 21:])
