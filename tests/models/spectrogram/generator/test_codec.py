import pytest
import torch

from sottovoce.features.extract import default_spec, extract
from sottovoce.features.spec import View
from sottovoce.models.generator import _codec
from sottovoce.models.generator._codec import BANDS, CONTEXT, GROUP, HALF, LEVELS, NUMBERS, WIDEST, Codec, grouped
from sottovoce_simulations.shipped_weights.train_codec import corrupted, fit


def textured(clips, seed=0, frames=26 * GROUP):
    """Spectrograms with structure: notes of many spectra that come and go, and a little noise."""
    generator = torch.Generator().manual_seed(seed)
    spectra = torch.randn(BANDS, 40, generator=torch.Generator().manual_seed(9))
    notes = (torch.rand(clips, 40, frames // 3 + 1, generator=generator) < 0.1).float().repeat_interleave(3, dim=2)
    return spectra @ notes[:, :, :frames] + 0.1 * torch.randn(clips, BANDS, frames, generator=generator)


@pytest.fixture(scope="module")
def codec():
    return fit(textured(64), steps=8)


def left(made, features):
    """The share of the variance that is lost."""
    return float(
        (made - features).square().mean() / (features - features.mean(dim=(0, 2), keepdim=True)).square().mean()
    )


def test_groups_are_whole_and_in_order():
    features = torch.arange(2 * 3 * 11).view(2, 3, 11)
    groups = grouped(features)
    assert groups.shape == (2, 2, GROUP * 3)
    assert torch.equal(groups[1, 1].view(GROUP, 3).T, features[1, :, GROUP : 2 * GROUP])


def test_a_number_is_its_component_rounded(codec):
    features = textured(4, seed=2)
    exact = (grouped(features) - codec.components.mean) @ codec.components.basis / codec.components.step
    off = (codec.encode(features) - HALF - exact).abs()
    assert float(off[exact.abs() <= HALF].max()) <= 0.5 + 1e-4
    assert int(codec.encode(1e3 * features).max()) == LEVELS - 1
    assert int(codec.encode(-1e3 * features).min()) == 0


def test_components_come_by_how_much_they_tell(codec):
    numbers = codec.encode(textured(32, seed=3)) - HALF
    spread = (numbers * codec.components.step).std(dim=(0, 1))
    assert spread[:8].mean() > spread[8:24].mean() > spread[-8:].mean()


def test_values_lie_evenly_about_0():
    found = _codec.values(torch.arange(LEVELS))
    assert float(found[HALF]) == 0
    assert float(found[-1]) == -float(found[0]) == pytest.approx(WIDEST)
    assert torch.allclose(found.diff(), torch.tensor(WIDEST / HALF))


def test_a_group_sounds_by_its_neighbours_and_by_nothing_farther(codec):
    numbers = codec.encode(textured(1, seed=3))
    other, middle = numbers.clone(), numbers.shape[1] // 2
    other[:, middle] = (other[:, middle] + HALF) % LEVELS
    changed = (codec.decode(numbers) - codec.decode(other)).abs().amax(dim=(0, 1)).view(-1, GROUP).amax(dim=1) > 1e-5
    assert changed[middle - 1 : middle + 2].all()
    assert not changed[: middle - CONTEXT].any()
    assert not changed[middle + CONTEXT + 1 :].any()


def test_it_survives_being_written(codec):
    back = Codec.from_bytes(codec.to_bytes())
    assert back.to_bytes() == codec.to_bytes()
    numbers = codec.encode(textured(2, seed=4))
    assert left(back.decode(numbers), codec.decode(numbers)) < 1e-3


def test_nothing_of_it_can_be_trained(codec):
    assert not any(parameter.requires_grad for parameter in codec.corrector.parameters())


@pytest.fixture(scope="module")
def notes():
    """Spectrograms of notes of half a second each, of many partials."""
    spec = default_spec(View.SPECTROGRAM)
    time = torch.arange(spec.segment_samples) / spec.sample_rate
    pitches = 220 * 2 ** (torch.tensor([0, 4, 7, 12, 7, 4, 0, 5]) / 12)
    phase = torch.cumsum(pitches[(2 * time).long()] / spec.sample_rate, dim=0) * 2 * torch.pi
    audio = sum(torch.sin(k * phase) / k for k in range(1, 20)) * torch.exp(-3 * (time % 0.5))
    return torch.from_numpy(extract(audio, spec).spectrogram).float()[..., : 40 * GROUP]


def test_the_one_that_is_shipped_restores_notes(notes):
    """Much closer to themselves after coding than to their own mean spectrum."""
    codec = _codec.shipped()
    numbers = codec.encode(notes)
    found = codec.decode(numbers)
    assert float((found - notes).norm()) < 0.6 * float((notes - notes.mean(dim=2, keepdim=True)).norm())
    assert left(found, notes) < 0.98 * left(codec.components.decode(numbers), notes)  # the corrector's work
    assert len(codec.to_bytes()) < 3e6
    assert numbers.shape == (1, 40, NUMBERS)


def test_the_one_that_is_shipped_takes_off_what_does_not_fit(notes):
    codec = _codec.shipped()
    numbers = corrupted(codec.encode(notes), torch.Generator().manual_seed(1))
    added = left(codec.components.decode(numbers), notes) - left(codec.components.decode(codec.encode(notes)), notes)
    heard = left(codec.decode(numbers), notes) - left(codec.decode(codec.encode(notes)), notes)
    assert added > 0.05
    assert heard < 0.8 * added


def test_spoilt_numbers_are_a_level_or_two_beside():
    numbers = torch.full((64, 10, NUMBERS), HALF)
    beside = (corrupted(numbers, torch.Generator().manual_seed(0)) - HALF).abs()
    assert 0.1 < float((beside > 0).float().mean()) < 0.3
    assert 0.05 < float((beside[beside > 0] == 2).float().mean()) < 0.25
    assert int(beside.max()) == 2
    assert int(corrupted(torch.zeros_like(numbers), torch.Generator().manual_seed(0)).min()) == 0
