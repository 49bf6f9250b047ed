"""Gaps that are filled by what the music does elsewhere."""

import numpy as np
import pytest
import torch

from sottovoce.editing.interpolate import InterpolatingRepairer
from sottovoce.editing.resound import touched
from sottovoce.editing.similar import SimilarRepairer, alike

RATE, BEAT = 22_050, 8_820


def beats(count, seed=0):
    """A beat of two sounds by turns, each a noise that dies away, under a soft chord: `[samples]`."""
    rng = np.random.default_rng(seed)
    times = np.arange(BEAT) / RATE
    sounds = [np.exp(-20 * times) * rng.standard_normal(BEAT) for _ in range(2)]
    chord = sum(np.sin(2 * np.pi * f * np.arange(count * BEAT) / RATE) for f in (220, 277.2, 329.6))
    return 0.2 * np.concatenate([sounds[number % 2] for number in range(count)]) + 0.02 * chord


def mended(audio, start, frames, method=None):
    repairer = method or SimilarRepairer()
    return repairer.fill(audio[:start], audio[start + frames :], frames, RATE)


def error(wanted, found):
    """Of magnitudes in windows of 23 ms, dB below what is wanted."""
    spectra = [
        torch.stft(
            torch.from_numpy(x[:, 0].copy()),
            512,
            128,
            window=torch.hann_window(512, dtype=torch.float64),
            return_complex=True,
        ).abs()
        for x in (wanted, found)
    ]
    return float(10 * torch.log10((spectra[0] - spectra[1]).square().sum() / spectra[0].square().sum()))


def test_a_beat_that_is_missing_comes_back():
    """It began within the gap, of which nothing beside the gap tells."""
    audio = beats(16)[:, None]
    start, frames = 7 * BEAT - 2_000, 4_410
    wanted = audio[start : start + frames]
    found, straight = mended(audio, start, frames), mended(audio, start, frames, InterpolatingRepairer())
    assert found.shape == wanted.shape
    assert error(wanted, found) < error(wanted, straight) - 6
    power = np.convolve(np.square(found[:, 0]), np.ones(200), "same")
    assert abs(int(power.argmax()) - 2_000) < 400


def test_the_likest_place_is_the_same_beat_elsewhere():
    audio = beats(16)
    analysis = SimilarRepairer().analysis(RATE)
    heard = torch.from_numpy(audio[None]).float()
    gap = slice(7 * BEAT - 2_000, 7 * BEAT + 2_410)
    magnitudes = analysis.spectrum(heard).abs()
    missing = touched(gap, magnitudes.shape[2], analysis)
    excerpts = alike(heard, magnitudes, missing, analysis)
    assert float(excerpts.weights.sum()) == pytest.approx(1)
    assert (excerpts.weights.diff() <= 0).all()
    # A beat of the other sound is one beat away, one of the same sound two.
    away = int(excerpts.shifts[0]) % (2 * BEAT)
    assert min(away, 2 * BEAT - away) <= analysis.hop // 4
    for shift in excerpts.shifts.tolist():
        assert shift + gap.stop <= gap.start or shift + gap.start >= gap.stop


def test_channels_stay_together():
    one = beats(16)
    audio = np.stack([one, 0.5 * one], axis=1)
    found = mended(audio, 7 * BEAT - 2_000, 4_410)
    assert error(found[:, :1], 2 * found[:, 1:]) < -30


def test_where_nothing_is_alike_it_interpolates():
    rng = np.random.default_rng(0)
    audio = 0.1 * rng.standard_normal((4 * RATE, 1))
    found = mended(audio, 2 * RATE, 4_410)
    assert np.isfinite(found).all()
    assert np.sqrt(np.mean(found**2)) == pytest.approx(0.1, rel=0.5)


@pytest.mark.parametrize(
    ("length", "start", "frames"),
    [(40_000, 0, 4_410), (40_000, 35_590, 4_410), (3_000, 1_000, 500), (40_000, 100, 39_000), (9_000, 4_000, 4_410)],
    ids=["at the start", "at the end", "short file", "nearly all", "no room elsewhere"],
)
@pytest.mark.parametrize("loudness", [0.0, 1.0], ids=["silent", "loud"])
def test_whatever_is_left_is_mended_by_it(length, start, frames, loudness):
    audio = loudness * np.stack([beats(5)[:length]] * 2, axis=1)
    found = mended(audio, start, frames)
    assert found.shape == (frames, 2)
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 2 * np.abs(audio).max()
