"""Gaps filled by a release, in files of every form."""

import numpy as np
import pytest
import soundfile

from sottovoce.errors import ReleaseError
from sottovoce.studio.editing.effect import apply
from sottovoce.studio.editing.gaps import Gap
from sottovoce.studio.editing.learned_repair import LearnedRepairer
from sottovoce.studio.editing.repair import Repair


def filled(release, samples, start, stop, rate):
    repairer = LearnedRepairer(release)
    context = round(repairer.context_seconds * rate)
    return repairer.fill(samples[max(0, start - context) : start], samples[stop : stop + context], stop - start, rate)


@pytest.mark.parametrize(
    ("seconds", "rate", "channels"), [(4, 22050, 1), (4, 44100, 2), (2, 8000, 1), (2, 96000, 1), (1, 16000, 8)]
)
def test_a_gap_is_filled_at_the_files_own_rate_and_channels(release, music, seconds, rate, channels):
    samples = music(seconds, rate, channels)
    start, stop = len(samples) // 2, len(samples) // 2 + round(0.1 * rate)
    found = filled(release, samples, start, stop, rate)
    assert found.shape == (stop - start, channels)
    assert np.isfinite(found).all()
    wanted, others = samples[start:stop], np.delete(samples, np.s_[start:stop], axis=0)
    assert np.abs(found).max() <= 2 * np.abs(others).max()
    # A steady chord is mended in its own channel: nearer to what was there than silence is.
    error = np.square(found - wanted).sum(axis=0) / np.square(wanted).sum(axis=0)
    assert (error < 0.6).all()


@pytest.mark.parametrize("seed", range(3))
def test_its_ends_join_the_surroundings(loaded, unperiodic, assert_no_click, seed):
    samples = unperiodic(3, 22050, 2, seed)
    start, stop = 30000, 36000
    mended = samples.copy()
    mended[start:stop] = filled(loaded("editor", "cnn"), samples, start, stop, 22050)
    assert_no_click(mended, [start, stop])


@pytest.mark.parametrize("side", ["start", "end"])
def test_a_gap_may_lie_at_an_end(release, music, side):
    samples = music(2)
    empty = samples[:0]
    before, after = (empty, samples) if side == "start" else (samples, empty)
    found = LearnedRepairer(release).fill(before, after, 4000, 22050)
    assert found.shape == (4000, 1)
    assert np.isfinite(found).all()
    assert np.abs(found).max() > 0.01


def test_what_was_in_the_gap_makes_no_difference(release, music, tmp_path):
    outputs = []
    for value in (0.0, 0.9):
        samples = music(3, 22050, 2)
        samples[30000:34000] = value
        soundfile.write(tmp_path / "in.wav", samples, 22050, subtype="FLOAT")
        repair = Repair([Gap(30000, 34000)], LearnedRepairer(release))
        apply(tmp_path / "in.wav", tmp_path / f"{value}.wav", [repair], ("WAV", "FLOAT"))
        outputs.append(soundfile.read(tmp_path / f"{value}.wav")[0])
        outside = np.r_[0:30000, 34000 : len(samples)]
        assert np.array_equal(outputs[-1][outside], samples[outside].astype(np.float32))
    assert np.array_equal(*outputs)


def test_the_same_gap_is_filled_the_same_way_twice(release, music):
    assert np.array_equal(*(filled(release, music(2), 20000, 24000, 22050) for _ in range(2)))


@pytest.mark.parametrize("beside", [0, 1, 40, 500])
def test_little_or_nothing_beside_a_gap(release, music, beside):
    samples = music(1)[: 2 * beside + 301]
    found = LearnedRepairer(release).fill(samples[:beside], samples[beside + 300 :], 300, 22050)
    assert found.shape == (300, 1)
    assert np.isfinite(found).all()


def test_silence_stays_silent(release):
    silence = np.zeros((22050, 2))
    assert not LearnedRepairer(release).fill(silence, silence, 5000, 22050).any()


def test_a_gap_longer_than_what_is_around_it(release, music):
    found = LearnedRepairer(release).fill(music(0.3), music(0.3), 3 * 22050, 22050)
    assert found.shape == (3 * 22050, 1)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(("task", "family"), [("generator", "rnn"), ("generator", "vae")])
def test_a_release_of_another_task_is_refused(loaded, task, family):
    with pytest.raises(ReleaseError, match="is for the task 'generator'"):
        LearnedRepairer(loaded(task, family))
