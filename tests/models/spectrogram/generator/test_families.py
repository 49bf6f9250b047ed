import pytest
import torch

from sottovoce.models import discovery


def test_what_is_sampled_has_the_specs_shape_and_range(family, model, spec):
    pieces = family.sample(model, torch.tensor([0, 2]), torch.Generator().manual_seed(1))
    found = torch.cat([next(pieces) for _ in range(4)], dim=2)
    assert found.shape[:2] == (2, spec.n_mels)
    assert torch.isfinite(found).all()
    assert found.abs().max() <= 4


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_equal_seeds_give_equal_spectrograms(family, model, temperature):
    def drawn(seed):
        pieces = family.sample(model, torch.tensor([1]), torch.Generator().manual_seed(seed), temperature=temperature)
        return torch.cat([next(pieces) for _ in range(2)], dim=2)

    first = drawn(1)
    assert torch.equal(first, drawn(1))
    if temperature:
        assert not torch.equal(first, drawn(2))


def test_the_style_matters(family, model):
    drawn = [next(family.sample(model, torch.tensor([style]), torch.Generator().manual_seed(0))) for style in (0, 1)]
    assert not torch.equal(*drawn)


def test_families_are_found_by_their_files():
    assert discovery.families("generator") == ("gan", "rnn", "vae")
    assert discovery.spec_of("generator", "rnn").n_mels >= 229
