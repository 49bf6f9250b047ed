"""The notes behind the partials, and what is counted on them."""

import numpy as np
import pytest
import torch

from sottovoce.features.extract import extract
from sottovoce.features.segments import cut
from sottovoce.features.spectra import LOWEST_PITCH, spectra
from sottovoce.features.transcription import VOICES, transcribe

RATE = 22_050


def tone(key, seconds, partials=6, decay=0.6):
    """A plucked note with its partials, or with a long decay one that is held."""
    times = np.arange(round(seconds * RATE)) / RATE
    hertz = 440 * 2 ** ((key - 69) / 12)
    wave = sum(np.sin(2 * np.pi * hertz * k * times) / k for k in range(1, partials + 1))
    return 0.1 * wave * np.exp(-times / decay) * np.minimum(1, times / 0.005)


def tune(keys, seconds=0.25):
    return np.concatenate([tone(key, seconds) for key in keys])


@pytest.fixture
def heard(raw_spec, as_audio):
    """`heard(wave)`: the notes transcribed from its first segment, `[semitones, frames]`."""
    return lambda wave: transcribe(spectra(cut(as_audio(wave), raw_spec), raw_spec).pitch)[0]


@pytest.fixture
def describe(raw_spec, as_audio, value):
    return lambda wave, name: value(extract(as_audio(wave), raw_spec), raw_spec, name)


@pytest.mark.parametrize("partials", [1, 4, 10])
@pytest.mark.parametrize("chord", [(60,), (57, 64), (55, 59, 62), (48, 55, 64, 71)])
def test_a_chord_has_its_notes_whatever_the_timbre(heard, chord, partials):
    notes = heard(sum(tone(key, 4.5, partials) for key in chord))
    sounding = (notes[:, 8:20] > 0).float().mean(dim=1)
    assert {int(step) + LOWEST_PITCH for step in (sounding > 0.5).nonzero()[:, 0]} == set(chord)


def test_no_more_notes_than_voices_and_none_in_silence(heard):
    cluster = heard(sum(tone(key, 4.5, 1) for key in range(60, 68)))
    assert int((cluster > 0).sum(dim=0).max()) <= VOICES
    assert not transcribe(torch.zeros(1, 61, 10)).any()


def test_a_scale_moves_in_steps_and_an_arpeggio_in_leaps(describe):
    scale = tune([60, 62, 64, 65, 67, 69, 71, 72] * 3)
    arpeggio = tune([60, 65, 72, 65] * 6)
    assert describe(scale, "line.steps")[0] > 0.7
    assert describe(scale, "line.leaps")[0] < 0.3
    assert describe(arpeggio, "line.leaps")[0] > 0.9
    assert describe(arpeggio, "line.turns")[0] > 0.4
    assert describe(arpeggio, "line.compass")[0] == pytest.approx(12)
    assert describe(arpeggio, "line.centre")[0] + LOWEST_PITCH == pytest.approx(65.5, abs=0.7)
    moves = describe(arpeggio, "line.step.")
    assert set(np.flatnonzero(moves > 0.3) - 12) == {5, 7, -7, -5}


@pytest.mark.parametrize("seconds", [0.25, 0.5, 1.0])
def test_notes_have_their_values(describe, seconds):
    wave = tune([60, 64, 67, 65] * round(1.25 / seconds + 4), seconds)
    values = describe(wave, "line.value.")
    gaps = describe(wave, "gap.")[:12]
    edges = np.array((0.07, 0.12, 0.16, 0.21, 0.3, 0.4, 0.53, 0.77, 1.14))
    assert values.argmax() == np.searchsorted(edges, seconds)
    assert values.max() > 0.9
    edges = np.array((0.1, 0.13, 0.17, 0.22, 0.29, 0.36, 0.45, 0.57, 0.71, 0.9, 1.13))
    assert gaps.argmax() == np.searchsorted(edges, seconds)


def test_dotted_rhythm_shows_in_the_ratios_of_gaps(describe):
    even = tune([60, 64] * 9, 0.25)
    dotted = np.concatenate([np.append(tone(60, 0.375), tone(64, 0.125)) for _ in range(9)])
    ratios = [describe(wave, "gap.ratio.") for wave in (even, dotted)]
    assert ratios[0].argmax() == 3
    assert ratios[1][[0, -1]].min() > 0.6


def test_voices_and_the_intervals_over_the_lowest(describe):
    alone, chord = tone(60, 4.5, decay=9), sum(tone(key, 4.5, decay=9) for key in (55, 59, 62))
    assert describe(alone, "voices.").argmax() == 1
    assert describe(chord, "voices.").argmax() == 3
    assert set(np.argsort(describe(chord, "above."))[-2:]) == {4, 7}
    assert describe(chord, "outer.")[2] == pytest.approx(7, abs=0.5)


def test_what_returns_recurs(describe):
    held, changing = tone(60, 4.5, decay=9), tune(range(48, 70), 0.2)
    assert describe(held, "recurrence.").min() > 0.9
    assert describe(changing, "recurrence.")[-3:].max() < 0.5


def test_hardly_any_note_is_no_line(describe):
    wave = np.zeros(4 * RATE)
    wave[1000 : 1000 + RATE] = tone(60, 1.0)
    assert not describe(wave, "line.").any()
