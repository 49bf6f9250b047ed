"""Effects by a release: streamed, at any rate, for any number of channels."""

import numpy as np
import pytest
import torch

from sottovoce.errors import ConfigurationError, ReleaseError
from sottovoce.studio.editing.extend import Extend
from sottovoce.studio.editing.restyle import Restyle
from sottovoce.studio.editing.spectral_effects import FRAMES, OVERLAP, Denoise, SpectralEffect


def streamed(effect, samples, rate=22050, block=5000):
    blocks = (samples[start : start + block] for start in range(0, len(samples), block))
    found = list(effect.process(blocks, rate))
    return np.concatenate(found) if found else samples[:0]


class Nothing(SpectralEffect):
    def gains(self, values):
        return torch.zeros_like(values)


class Louder(SpectralEffect):
    """Everything 6 dB louder, in deviations of a band."""

    def gains(self, values):
        return (6.0 / self._constants.std)[:, None].expand_as(values)


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
@pytest.mark.parametrize("seconds", [0.01, 1.0, 9.0])
def test_what_changes_nothing_changes_nothing(loaded, music, rate, seconds):
    samples = music(seconds, rate, 2)
    found = streamed(Nothing(loaded("editor", "rnn"), 1.0), samples, rate)
    assert found.shape == samples.shape
    assert np.abs(found - samples).max() < 1e-5


def test_gains_arrive_as_asked_without_a_step_between_pieces(loaded, music):
    samples = music(12)
    found = streamed(Louder(loaded("editor", "rnn"), 0.5), samples)
    assert np.abs(found - samples * 10 ** (3 / 20)).max() < 1e-3


class Alternating(SpectralEffect):
    """Every other piece 6 dB louder."""

    pieces = 0

    def gains(self, values):
        self.pieces += 1
        return (6.0 * (self.pieces % 2) / self._constants.std)[:, None].expand_as(values)


@pytest.mark.parametrize("seed", range(3))
def test_pieces_that_are_changed_otherwise_meet_without_a_click(loaded, unperiodic, assert_no_click, seed):
    samples, hop = unperiodic(12, 22050, 2, seed), 512
    starts = np.arange((FRAMES - OVERLAP) * hop, len(samples) - FRAMES * hop, (FRAMES - OVERLAP) * hop)
    assert len(starts) >= 2
    for effect in (Alternating(loaded("editor", "rnn"), 1.0), Denoise(loaded("editor", "rnn"))):
        assert_no_click(streamed(effect, samples), [*starts, *starts + OVERLAP * hop])


@pytest.mark.parametrize("block", [1, 777, 10**6])
def test_how_the_stream_is_cut_makes_no_difference(release, music, block):
    samples = music(5, 8000)[:: 1 if block > 1 else 40]
    assert np.allclose(streamed(Denoise(release), samples, 8000, block), streamed(Denoise(release), samples, 8000))


def test_memory_does_not_grow_with_the_length(loaded, music):
    """Output comes while input goes in: no more than a piece is held back."""
    block, taken = music(0.5, 8000), 0
    effect = Nothing(loaded("editor", "rnn"), 1.0)

    def blocks():
        nonlocal taken
        for _ in range(100):
            taken += len(block)
            yield block

    given = 0
    for part in effect.process(blocks(), 8000):
        given += len(part)
        assert taken - given <= (FRAMES + OVERLAP) * 200 + 2 * len(block)
    assert given == 100 * len(block)


@pytest.mark.parametrize(("rate", "channels"), [(22050, 1), (44100, 2), (8000, 8), (96000, 1)])
def test_noise_is_never_made_louder(release, music, rate, channels):
    samples = music(1, rate, channels) + 0.02 * np.random.default_rng(0).standard_normal((rate, channels))
    found = streamed(Denoise(release), samples, rate)
    assert found.shape == samples.shape
    assert np.square(found).sum() <= np.square(samples).sum() * 1.001
    assert np.array_equal(found, streamed(Denoise(release), samples, rate))


def test_an_amount_of_nothing_changes_nothing(release, music):
    samples = music(2, 22050, 2)
    assert np.array_equal(streamed(Denoise(release, 0.0), samples), samples)


def test_silence_stays_silent(release, loaded):
    silence = np.zeros((50000, 2))
    assert not streamed(Denoise(release), silence).any()
    assert not streamed(Restyle(loaded("generator", "vae"), "reel"), silence).any()
    assert not streamed(Extend(release, 1), silence).any()


def test_an_empty_stream_stays_empty(release):
    for effect in (Denoise(release), Extend(release, 1)):
        assert list(effect.process(iter(()), 22050)) == []


@pytest.mark.parametrize("amount", [-0.1, 1.1, float("nan")])
def test_an_amount_out_of_range_is_refused(release, loaded, amount):
    with pytest.raises(ConfigurationError, match="must be between 0 and 1"):
        Denoise(release, amount)
    with pytest.raises(ConfigurationError, match="must be between 0 and 1"):
        Restyle(loaded("generator", "vae"), "reel", amount)


def test_releases_of_other_tasks_are_refused(release, loaded):
    generator = loaded("generator", "vae")
    with pytest.raises(ReleaseError, match="is for the task 'generator'"):
        Denoise(generator)
    with pytest.raises(ReleaseError, match="is for the task 'generator'"):
        Extend(generator, 3)
    with pytest.raises(ReleaseError, match="is for the task 'editor'"):
        Restyle(release, "reel")
    with pytest.raises(ReleaseError, match="family 'rnn'; restyling needs 'vae'"):
        Restyle(loaded("generator", "rnn"), "reel")
    with pytest.raises(ConfigurationError, match="does not know the style 'polka'"):
        Restyle(generator, "polka")


@pytest.mark.parametrize(("rate", "channels"), [(22050, 1), (44100, 2), (8000, 8)])
def test_a_track_goes_on_after_its_end(release, music, rate, channels):
    samples = music(1.3, rate, channels)
    found = streamed(Extend(release, 0.9), samples, rate)
    assert found.shape == (len(samples) + round(0.9 * rate), channels)
    assert np.array_equal(found[: len(samples)], samples)
    new = found[len(samples) :]
    assert np.abs(new[: rate // 10]).max() > 0.01
    assert np.abs(new[-1]).max() == 0
    step = np.abs(np.diff(found[len(samples) - 2 : len(samples) + 2], axis=0)).max()
    assert step < 1.5 * np.abs(np.diff(samples, axis=0)).max()


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan"), 1e6])
def test_a_length_out_of_range_is_refused(release, seconds):
    with pytest.raises(ConfigurationError, match="can be extended by"):
        Extend(release, seconds)


def test_another_style_changes_the_music_by_the_amount(loaded, music):
    samples, vae = music(9, 22050, 2), loaded("generator", "vae")
    half, whole, again = (streamed(Restyle(vae, "reel", amount), samples) for amount in (0.5, 1.0, 1.0))
    assert half.shape == samples.shape
    assert np.array_equal(whole, again)
    assert 0 < np.abs(half - samples).mean() < np.abs(whole - samples).mean()
    assert np.abs(whole - streamed(Restyle(vae, "tango"), samples)).max() > 0
