"""Gaps that are filled by what the music does elsewhere."""

import numpy as np
import pytest
import torch

from sottovoce.studio.editing import candidates, exemplar, gating
from sottovoce.studio.editing.exemplar import ExemplarRepairer
from sottovoce.studio.editing.interpolate import InterpolatingRepairer
from sottovoce.studio.editing.phase_reconstruction import first_and_last, missing_frames
from sottovoce.studio.editing.repairer import LpcRepairer

RATE, BEAT = 22_050, 8_820


def beats(count, seed=0):
    """A beat of two sounds by turns, each a noise that dies away, under a soft chord: `[samples]`."""
    rng = np.random.default_rng(seed)
    times = np.arange(BEAT) / RATE
    sounds = [np.exp(-20 * times) * rng.standard_normal(BEAT) for _ in range(2)]
    chord = sum(np.sin(2 * np.pi * f * np.arange(count * BEAT) / RATE) for f in (220, 277.2, 329.6))
    return 0.2 * np.concatenate([sounds[number % 2] for number in range(count)]) + 0.02 * chord


def mended(audio, start, frames, method=None):
    repairer = method or ExemplarRepairer()
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
    """It began within the gap, which the context does not reveal."""
    audio = beats(16)[:, None]
    start, frames = 7 * BEAT - 2_000, 4_410
    wanted = audio[start : start + frames]
    found, straight = mended(audio, start, frames), mended(audio, start, frames, InterpolatingRepairer())
    assert found.shape == wanted.shape
    assert error(wanted, found) < error(wanted, straight) - 6
    power = np.convolve(np.square(found[:, 0]), np.ones(200), "same")
    assert abs(int(power.argmax()) - 2_000) < 400


def known(audio, gap):
    """What is looked at of `[samples]`: magnitudes, which frames are missing, and the places that are like them."""
    analysis = ExemplarRepairer().analysis(RATE)
    heard = torch.from_numpy(audio[None]).float()
    magnitudes = analysis.spectrum(heard).abs()
    missing = missing_frames(gap, magnitudes.shape[2], analysis)
    matches = candidates.find_matches(candidates.subframe_levels(heard, magnitudes, analysis), missing, analysis)
    return magnitudes, missing, matches, analysis


def test_the_likest_place_is_the_same_beat_elsewhere():
    gap = slice(7 * BEAT - 2_000, 7 * BEAT + 2_410)
    _, missing, matches, analysis = known(beats(16), gap)
    weights = matches.weights(candidates.FEW, candidates.SHARPNESS)
    assert float(weights.sum()) == pytest.approx(1)
    assert (weights.diff() <= 0).all()
    first, last = first_and_last(missing)
    hops = matches.starts[matches.chosen] / candidates.SUBFRAMES - first
    # A beat of the other sound is one beat away, one of the same sound two.
    away = float(hops[0]) * analysis.hop % (2 * BEAT)
    assert min(away, 2 * BEAT - away) <= analysis.hop // 4
    assert (hops.abs() > last - first).all()


def test_guesses_keep_what_is_known_beside_the_gap():
    magnitudes, missing, matches, analysis = known(beats(16), slice(7 * BEAT - 2_000, 7 * BEAT + 2_410))
    found = candidates.candidates_for(magnitudes, missing, matches, analysis)
    first, last = first_and_last(missing)
    levels = 10 ** (analysis.bands(magnitudes) / 20) / found.scale
    assert found.magnitudes.shape == (1, candidates.CANDIDATES, len(levels[0]), last - first + 3)
    assert found.features.shape == (1, candidates.FEATURES, len(levels[0]), last - first + 1)
    for name in ("line", "line in dB", "linear prediction", "matches and line", "many matches and line"):
        guess = found.magnitudes[:, candidates.NAMES.index(name)]
        assert torch.allclose(guess[:, :, 0], levels[:, :, first - 1], atol=1e-4)
        assert torch.allclose(guess[:, :, -1], levels[:, :, last + 1], atol=1e-4)


def test_nothing_that_is_missing_is_known():
    """Only linear prediction comes from the gap; windows beside it reach slightly into it."""
    gap, inner = slice(7 * BEAT - 2_000, 7 * BEAT + 2_410), slice(7 * BEAT - 800, 7 * BEAT + 1_210)
    one, other = beats(16), beats(16)
    other[inner] = 0.05 * np.random.default_rng(1).standard_normal(2_010)
    found = [candidates.candidates_for(*known(audio, gap)) for audio in (one, other)]
    within = candidates.NAMES.index("linear prediction")
    others = [number for number in range(candidates.CANDIDATES) if number != within]
    assert torch.allclose(found[0].magnitudes[:, others], found[1].magnitudes[:, others], atol=1e-5)
    assert torch.allclose(found[0].features, found[1].features, atol=1e-5)
    assert not torch.allclose(found[0].magnitudes[:, within], found[1].magnitudes[:, within], rtol=0.5)


def test_before_it_learns_the_network_trusts_the_rule():
    found = candidates.candidates_for(*known(beats(16), slice(7 * BEAT - 2_000, 7 * BEAT + 2_410)))
    estimate = gating.gated(gating.GatingNetwork().eval(), found) / found.scale
    weight = 1 / (1 + (candidates.CANDIDATES - 1) * np.exp(-gating.INITIAL_LOGIT))
    rule = found.magnitudes[:, candidates.DEFAULT, :, 1:-1]
    mean = found.magnitudes[:, :, :, 1:-1].mean(dim=1)
    assert torch.allclose(
        estimate,
        weight * rule + (1 - weight) * (candidates.CANDIDATES * mean - rule) / (candidates.CANDIDATES - 1),
        rtol=1e-3,
        atol=1e-5,
    )


def test_what_is_shipped_beats_the_rule_and_stays_near_the_guesses(monkeypatch):
    audio, start, frames = beats(16)[:, None], 7 * BEAT - 2_000, 4_410
    wanted = audio[start : start + frames]
    learned = mended(audio, start, frames)
    found = candidates.candidates_for(*known(audio[:, 0], slice(start, start + frames)))
    estimate = gating.gated(gating.shipped(), found) / found.scale
    assert (estimate <= found.magnitudes[:, :, :, 1:-1].amax(dim=1) * np.exp(gating.LARGEST_GAIN) * 1.001).all()
    assert (estimate >= found.magnitudes[:, :, :, 1:-1].amin(dim=1) * np.exp(-gating.LARGEST_GAIN) * 0.999).all()
    monkeypatch.setattr(exemplar, "LONGEST_GATED_SECONDS", 0.0)
    assert error(wanted, learned) < error(wanted, mended(audio, start, frames)) + 0.5


def test_the_same_gap_is_filled_alike_every_time():
    audio = np.stack([beats(16), beats(16, seed=1)], axis=1)
    one, other = (mended(audio, 7 * BEAT - 2_000, 4_410) for _ in range(2))
    assert np.array_equal(one, other)


def test_the_network_is_kept_as_it_is():
    model = gating.shipped()
    again = gating.from_bytes(gating.to_bytes(model))
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    assert len(gating.to_bytes(model)) < 1_000_000


@pytest.mark.parametrize("seconds", [0.001, 0.002, 0.005])
def test_a_drop_out_that_no_window_notices_is_what_linear_prediction_makes_of_it(seconds):
    audio, frames = beats(40)[:, None], round(seconds * RATE)
    found, wanted = (mended(audio, 15 * BEAT + 2_000, frames, method) for method in (None, LpcRepairer()))
    assert np.abs(found - wanted).max() < 1e-4


@pytest.mark.parametrize("seconds", [0.15, 0.5, 1.4, 1.6, 4.0])
def test_gaps_of_any_length_are_filled_as_loud_as_the_music(seconds):
    audio = beats(40)[:, None]
    frames = round(seconds * RATE)
    found = mended(audio, 15 * BEAT, frames)
    wanted = audio[15 * BEAT : 15 * BEAT + frames]
    assert found.shape == wanted.shape
    assert 0.5 < np.sqrt(np.mean(found**2) / np.mean(wanted**2)) < 1.5


def test_channels_stay_together():
    one = beats(16)
    audio = np.stack([one, 0.5 * one], axis=1)
    found = mended(audio, 7 * BEAT - 2_000, 4_410)
    # Not the same to the last: what is 80 dB below full scale is nothing to either of them.
    assert error(found[:, :1], 2 * found[:, 1:]) < -25


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
