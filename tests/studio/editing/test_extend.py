"""Music continues from where it sounded like its end."""

from itertools import islice, pairwise

import numpy as np
import pytest

from sottovoce.studio.editing.continuations import LONGEST_SECONDS, SHORTEST_SECONDS, Continuations
from sottovoce.studio.editing.extend import JOIN_SECONDS, MEMORY_SECONDS, Extend

RATE = 22050
BAR = (0, 7, 4, 12, 5, 9, 2)
"""Notes of a recurring figure, semitones above the lowest one."""


def bars(seconds, rate=RATE, channels=1, seed=0):
    """A figure of seven notes of 0.2 s, again and again, under a little noise: `[frames, channels]`."""
    times = np.arange(round(seconds * rate)) / rate
    number, since = np.divmod(times, 0.2)
    tones = 220 * 2 ** (np.array(BAR)[number.astype(int) % len(BAR)] / 12)
    tone = np.exp(-8 * since) * np.minimum(1, 200 * since) * np.sin(2 * np.pi * tones * since)
    noise = np.random.default_rng(seed).standard_normal((len(times), channels))
    return 0.3 * tone[:, None] + 1e-4 * noise


def extended(release, samples, seconds, rate=RATE):
    return np.concatenate(list(Extend(release, seconds).process(iter([samples]), rate)))


@pytest.mark.parametrize(("rate", "channels"), [(RATE, 1), (44100, 2), (8000, 8)])
def test_a_figure_that_returns_goes_on_in_time_and_in_tune(release, rate, channels):
    whole = bars(16, rate, channels)
    heard = round(9.5 * rate)
    found = extended(release, whole[:heard], 6, rate)
    assert np.array_equal(found[:heard], whole[:heard])
    wanted, made = whole[heard : heard + 5 * rate], found[heard : heard + 5 * rate]
    for channel in range(channels):
        assert np.corrcoef(wanted[:, channel], made[:, channel])[0, 1] > 0.95


def test_what_is_new_is_as_loud_as_the_music(release):
    found = extended(release, bars(12), 20)
    powers = [np.square(part).mean() for part in np.array_split(found[12 * RATE : 31 * RATE], 19)]
    assert min(powers) > 0.5 * np.square(bars(12)).mean()


@pytest.mark.parametrize("seed", range(2))
def test_no_join_clicks(loaded, unperiodic, assert_no_click, seed):
    """Neither at the old end, nor where the music jumps to another place, nor where that cross-fade has ended."""
    samples = unperiodic(12, RATE, channels=2, seed=seed)
    stretches = islice(Extend(loaded("editor", "rnn"), 33).continuation(samples, RATE), 4)
    lengths = [len(samples), *map(len, stretches)]
    joins = np.cumsum(lengths[:-1])
    found = extended(loaded("editor", "rnn"), samples, 33)
    assert_no_click(found, [*joins, *joins + round(JOIN_SECONDS * RATE)])


def test_the_same_track_goes_on_in_the_same_way(release):
    samples = bars(9)
    assert np.array_equal(extended(release, samples, 5), extended(release, samples, 5))


def test_only_the_end_is_remembered(release):
    """What lies further back than the memory makes no difference."""
    end = bars(MEMORY_SECONDS, 8000)
    other = np.random.default_rng(1).standard_normal((20000, 1))
    assert np.array_equal(
        extended(release, end, 5, 8000)[len(end) :],
        extended(release, np.concatenate([other, end]), 5, 8000)[len(end) + len(other) :],
    )


def test_stretches_lie_in_the_track_and_follow_each_other(loaded):
    samples = bars(11, 8000) + 0.1 * np.random.default_rng(0).standard_normal((88000, 1))
    places = Continuations(samples, 8000, loaded("editor", "rnn"))
    stretches = list(islice(places.segments(), 30))
    assert stretches[0][0] == len(samples)
    for (_, begin, until), (left, _, _) in pairwise(stretches):
        assert 0 <= begin < until == left <= len(samples)
        assert SHORTEST_SECONDS - 0.1 <= (until - begin) / 8000 <= LONGEST_SECONDS + 0.1


def test_a_place_that_was_heard_often_gives_way_to_others(loaded):
    samples = np.random.default_rng(0).standard_normal((12 * 8000, 1))
    begins = {begin for _, begin, _ in islice(Continuations(samples, 8000, loaded("editor", "rnn")).segments(), 12)}
    assert len(begins) > 6


@pytest.mark.parametrize("seconds", [0.05, 1.0, 3.0])
def test_what_is_too_short_has_no_place(loaded, seconds):
    samples = bars(seconds)
    assert list(Continuations(samples, RATE, loaded("editor", "rnn")).segments()) == []
    assert np.abs(extended(loaded("editor", "rnn"), samples, 1)[len(samples) :]).max() > 0
