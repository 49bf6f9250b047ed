"""Best of n: the judge's choice is continued; the rest of the piece is as without a judge."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sottovoce.errors import ConfigurationError, ReleaseError
from sottovoce.features.extract import default_spec
from sottovoce.features.normalisation import shipped
from sottovoce.features.spec import View
from sottovoce.studio import best_of
from sottovoce.studio.best_of import BestOf
from sottovoce.studio.generation import generate

SPEC = default_spec(View.SPECTROGRAM)
FRAMES = 50
TONES = (40, 90, 140)
"""The only sounding band, for each row."""


class Tones:
    """Every row has its own endless tone; each piece has one row per target."""

    def __init__(self):
        self.asked = []

    def sample(self, model, targets, generator, *, temperature):
        self.asked.append(len(targets))
        while True:
            piece = torch.full((len(targets), SPEC.n_mels, FRAMES), -8.0)
            for row in range(len(targets)):
                piece[row, TONES[row]] = 2.0
            yield piece


def release(family):
    manifest = SimpleNamespace(classes=("reel", "tango"), features=SPEC)
    return SimpleNamespace(
        manifest=manifest, expect_task=lambda _: None, family=family, model=None, constants=shipped(View.SPECTROGRAM)
    )


def judge(prefers, heard):
    """Takes audio for a tango the more, the nearer its loudest frequency is to a band's."""

    def probabilities(audio, rate):
        heard.append(len(audio) / rate)
        return np.array([0.5, 1 / (1 + abs(loudest(audio.numpy()) - band_frequency(prefers)))])

    manifest = SimpleNamespace(classes=("polka", "tango"), features=default_spec())
    return SimpleNamespace(manifest=manifest, expect_task=lambda _: None, probabilities_of=probabilities)


def loudest(audio):
    """Hz."""
    return float(np.abs(np.fft.rfft(audio)).argmax() * SPEC.sample_rate / len(audio))


def band_frequency(row):
    from sottovoce.features.spectrogram import mel_bank

    bank = mel_bank(SPEC)
    bank = bank if bank.shape[0] == SPEC.n_mels else bank.T
    return float(bank[TONES[row]].argmax() * SPEC.sample_rate / SPEC.n_fft)


@pytest.mark.parametrize("row", [0, 2])
def test_the_one_that_the_judge_prefers_goes_on(row):
    family, heard = Tones(), []
    chosen = BestOf(judge(row, heard), candidates=len(TONES))
    audio = generate(release(family), "tango", 14.0, seed=1, best_of=chosen)
    assert family.asked == [len(TONES)]
    assert heard == pytest.approx([chosen.seconds] * len(TONES), abs=0.1)
    assert len(audio) == round(14.0 * SPEC.sample_rate)
    for part in np.array_split(audio, 4):
        assert loudest(part) == pytest.approx(band_frequency(row), rel=0.03)


@pytest.mark.parametrize(
    ("probabilities", "row"),
    [((0.1, 0.87, 0.9), 1), ((0.1, 0.8, 0.9), 2), ((0.86, 0.2, 0.9), 0), ((0.01, 0.02, 0.005), 1)],
)
def test_of_those_that_are_about_as_clear_the_first_goes_on(probabilities, row, monkeypatch):
    monkeypatch.setattr(best_of, "JUDGED_SECONDS", 2.0)
    said = iter(probabilities)
    deaf = judge(0, [])
    deaf.probabilities_of = lambda audio, rate: np.array([0.0, next(said)])
    audio = generate(release(Tones()), "tango", 1.0, seed=1, best_of=BestOf(deaf, candidates=len(TONES)))
    assert loudest(audio) == pytest.approx(band_frequency(row), rel=0.03)


def test_a_judge_that_says_nothing_is_told():
    silent = judge(0, [])
    silent.probabilities_of = lambda audio, rate: np.full(2, np.nan)
    with pytest.raises(ReleaseError, match="not finite"):
        generate(release(Tones()), "tango", 1.0, seed=1, best_of=BestOf(silent, candidates=2))


def test_a_piece_shorter_than_what_is_heard_is_still_judged_and_cut():
    heard = []
    audio = generate(release(Tones()), "tango", 0.5, seed=1, best_of=BestOf(judge(2, heard), candidates=3))
    assert len(heard) == 3
    assert len(audio) == round(0.5 * SPEC.sample_rate)


def test_without_a_judge_one_is_drawn():
    family = Tones()
    generate(release(family), "tango", 0.5, seed=1)
    assert family.asked == [1]


def test_a_style_that_only_the_generator_knows_is_refused_before_anything_is_drawn():
    family = Tones()
    with pytest.raises(ConfigurationError, match="does not know the style 'reel'"):
        generate(release(family), "reel", 0.5, seed=1, best_of=BestOf(judge(0, []), candidates=3))
    assert family.asked == []
