from dataclasses import replace

import numpy as np
import pytest
import torch

from sottovoce.models.editor._conditioning import MAPS, observe, restored
from sottovoce.models.editor._corruption import CROP, corrupted
from sottovoce.models.editor._noise import Levels


@pytest.fixture
def levels(spec):
    """As if constants had been fitted: so that noise 15 dB below the mean shows."""
    found = Levels.of(spec)
    return replace(found, mean=torch.full_like(found.mean, -40), std=torch.full_like(found.std, 15))


def drawn(levels, spec, batch, frames=CROP, seed=0):
    features = torch.randn(batch, spec.n_mels, frames, generator=torch.Generator().manual_seed(5))
    return corrupted(levels, features, torch.Generator().manual_seed(seed)), features


def test_every_example_has_its_own_corruption(levels, spec):
    example, _ = drawn(levels, spec, 64)
    stretches = {tuple(row.nonzero()[:, 0].tolist()) for row in example.observed.missing}
    assert len(stretches) > 20
    assert 0.3 < example.observed.noisy.float().mean() < 0.7
    ratio = (example.observed.left - example.clean).abs().mean(dim=(1, 2))[example.observed.noisy]
    assert len(set(ratio.tolist())) == len(ratio)


def test_an_examples_corruption_does_not_depend_on_the_others(levels, spec):
    one, features = drawn(levels, spec, 8)
    features = features.clone()
    features[3] += 1
    two = corrupted(levels, features, torch.Generator().manual_seed(0))
    rest = [0, 1, 2, 4, 5, 6, 7]
    assert torch.equal(one.observed.missing, two.observed.missing)
    for name in ("left", "right"):
        assert torch.equal(getattr(one.observed, name)[rest], getattr(two.observed, name)[rest])
    assert torch.equal(one.clean[rest], two.clean[rest])


def test_equal_seeds_corrupt_alike_and_others_do_not(levels, spec):
    one, two, other = (drawn(levels, spec, 8, seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(one.observed.left, two.observed.left)
    assert not torch.equal(one.observed.left, other.observed.left)


def test_gaps_of_all_lengths_go_missing_and_a_part_is_always_left(levels, spec):
    example, _ = drawn(levels, spec, 256)
    lengths = example.observed.missing.sum(dim=1)
    assert lengths.max() <= 0.7 * CROP + 1
    assert lengths[lengths > 0].min() <= 6
    assert lengths.max() >= 40
    assert (example.counted.sum(dim=1) > 0).all()


def test_what_only_lacks_frames_is_otherwise_untouched(levels, spec):
    example, features = drawn(levels, spec, 64)
    known = ~example.observed.missing & ~example.observed.noisy[:, None]
    kept = known[:, None].expand_as(example.clean)
    assert torch.equal(example.observed.left[kept], example.clean[kept])
    assert torch.equal(example.clean[~example.observed.noisy], features[~example.observed.noisy])


def test_noise_fills_silence_and_hardly_changes_what_is_far_above_it(spec):
    """Against noise that was added to audio, and measured as every spectrogram is."""
    from sottovoce.features import spectrogram

    levels = Levels.of(spec)
    rng = np.random.default_rng(0)
    tone = 0.3 * np.sin(2 * np.pi * 1000 * np.arange(spec.segment_samples) / spec.sample_rate)
    clean = spectrogram.decibels(torch.from_numpy(tone.astype(np.float32))[None], spec)
    from sottovoce.models.editor import _noise

    snr = 10.0
    noise = rng.standard_normal(len(tone)) * np.sqrt(np.mean(tone**2)) * 10 ** (-snr / 20)
    wanted = spectrogram.decibels(torch.from_numpy((tone + noise).astype(np.float32))[None], spec)
    draws = torch.Generator().manual_seed(0)
    heard = _noise._noise(levels, (1, spec.n_mels, clean.shape[2]), draws)
    # White noise of a window scaled to a sine's amplitude has this deviation in each bin.
    window = spectrogram.window(spec.n_fft)
    deviation = float(np.sqrt(np.mean(noise**2)) * window.square().sum().sqrt())
    found = 20 * torch.log10(heard * deviation + spectrogram.FLOOR)
    quiet = clean.mean(dim=2)[0] < -40
    quiet[:2] = quiet[-2:] = False
    assert torch.allclose(found.mean(dim=2)[0][quiet], wanted.mean(dim=2)[0][quiet], atol=1.5)
    assert abs(float(found[0, quiet].std() - wanted[0, quiet].std())) < 1.0


@pytest.mark.parametrize(("start", "length"), [(0, 5), (35, 5), (10, 5), (0, 40)])
def test_without_a_network_gaps_are_interpolated(start, length):
    values = torch.arange(40.0).expand(1, 3, 40)
    missing = torch.zeros(1, 40, dtype=torch.bool)
    missing[0, start : start + length] = True
    seen = observe(values, missing, torch.tensor([False]))
    found = restored(seen, torch.zeros(1, MAPS, 3, 40))
    assert torch.allclose(found, seen.interpolated, atol=0.2)
    wanted = values.clone()
    if length == 40:
        wanted[:] = 0
    elif start == 0:
        wanted[:, :, :length] = length
    elif start == 35:
        wanted[:, :, start:] = start - 1
    assert torch.allclose(seen.interpolated, wanted)
