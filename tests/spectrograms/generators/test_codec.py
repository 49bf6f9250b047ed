import pytest
import torch

from sottovoce.features.extract import default_spec, extract
from sottovoce.features.spec import View
from sottovoce.models.generator import _codec
from sottovoce.models.generator._codec import GROUP, Codec, grouped
from sottovoce_simulations.codec import fit


def textured(rows, seed=0):
    """Groups with structure: combinations of a few spectra, and a little noise."""
    generator = torch.Generator().manual_seed(seed)
    spectra = torch.randn(12, GROUP * 16, generator=torch.Generator().manual_seed(9))
    mixed = (torch.rand(rows, 12, generator=generator) < 0.2).float() @ spectra
    return mixed + 0.1 * torch.randn(rows, GROUP * 16, generator=generator)


@pytest.fixture(scope="module")
def codec():
    return fit(textured(2000), levels=4, words=32, components=12)


def test_groups_and_frames_are_each_others_inverse():
    codec = Codec(torch.zeros(GROUP * 16), torch.eye(GROUP * 16), torch.zeros(1, 2, GROUP * 16))
    features = torch.rand(2, 16, 5 * GROUP)
    assert torch.allclose(codec.frames(codec.components(grouped(features))), features)


def test_every_level_leaves_less(codec):
    """On groups that it was not fitted on."""
    components = codec.components(textured(500, seed=1))
    codes = codec.encode(components)
    left = [
        float((components - Codec(codec.mean, codec.basis, codec.words[:level]).decode(codes[:, :level])).norm())
        for level in range(1, codec.levels + 1)
    ]
    assert left == sorted(left, reverse=True)
    assert left[-1] < 0.7 * left[0]


def test_each_number_names_the_nearest_word(codec):
    components = codec.components(textured(50, seed=2))
    nearest = torch.cdist(components, codec.words[0]).argmin(dim=1)
    assert torch.equal(codec.encode(components)[:, 0], nearest)


def test_it_survives_being_written(codec):
    back = Codec.from_bytes(codec.to_bytes())
    assert back.to_bytes() == codec.to_bytes()
    assert torch.allclose(back.words, codec.words, atol=1e-2)


def test_the_one_that_is_shipped_restores_notes():
    """Half a second each, of many partials: closer to themselves after coding than to their own mean spectrum."""
    spec = default_spec(View.SPECTROGRAM)
    time = torch.arange(spec.segment_samples) / spec.sample_rate
    pitches = 220 * 2 ** (torch.tensor([0, 4, 7, 12, 7, 4, 0, 5]) / 12)
    phase = torch.cumsum(pitches[(2 * time).long()] / spec.sample_rate, dim=0) * 2 * torch.pi
    audio = sum(torch.sin(k * phase) / k for k in range(1, 20)) * torch.exp(-3 * (time % 0.5))
    features = torch.from_numpy(extract(audio, spec).spectrogram).float()[..., : 40 * GROUP]
    codec = _codec.shipped()
    found = codec.frames(codec.decode(codec.encode(codec.components(grouped(features)))))
    assert float((found - features).norm()) < 0.7 * float((features - features.mean(dim=2, keepdim=True)).norm())
    assert len(codec.to_bytes()) < 1.5e6
