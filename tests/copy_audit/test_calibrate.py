"""Thresholds are exceeded by chance as rarely as stated, for any power of the distances, and are not too strict."""

import numpy as np
import pytest

from sottovoce.errors import CatalogueError
from sottovoce_client.copy_audit.thresholds import DUPLICATE, LEAST_TRACKS, below, bounds

FALSE_ALARMS, FURTHER, AUDITS = 0.01, 20, 3_000
ALLOWED = FALSE_ALARMS + 3 * (FALSE_ALARMS / AUDITS) ** 0.5  # three standard deviations of that many audits


def _distances(rng, size, *, dimension=4.0):
    """Distance to the nearest of many neighbours in a space of this dimension."""
    return 0.4 * rng.weibull(dimension, size)


def _of_two_kinds(rng, size):
    """One track in ten belongs to a cluster of near-duplicates."""
    return np.where(rng.random(size) < 0.1, _distances(rng, size, dimension=3.0) / 2, _distances(rng, size))


LAWS = {
    "three dimensions": lambda rng, size: _distances(rng, size, dimension=3.0),
    "eight dimensions": lambda rng, size: _distances(rng, size, dimension=8.0),
    "a long tail on both sides": lambda rng, size: np.exp(0.2 * rng.laplace(size=size)),
    "logarithms as normal": lambda rng, size: np.exp(0.2 * rng.normal(size=size)),
    "two kinds": _of_two_kinds,
}


@pytest.mark.parametrize("tracks", [24, 64, 256])
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_chance_exceeds_a_bound_as_seldom_as_is_said(law, tracks):
    rng = np.random.default_rng([tracks, 1])
    failed = 0
    for _ in range(AUDITS):
        bound = below(law(rng, tracks), FALSE_ALARMS / FURTHER)
        failed += law(rng, FURTHER).min() < bound
    # Of two kinds, few tracks hardly see the rarer one.
    assert failed / AUDITS <= (2 * ALLOWED if law is _of_two_kinds else ALLOWED)


def test_a_bound_is_not_further_off_than_few_tracks_need():
    """Against the distance that really is undercut so seldom: half of it by 64 tracks, three quarters by 256."""
    rng, probability = np.random.default_rng(2), FALSE_ALARMS / FURTHER
    true = 0.4 * (-np.log1p(-probability)) ** (1 / 4)
    for tracks, share in ((64, 0.5), (256, 0.75)):
        found = np.median([below(_distances(rng, tracks), probability) for _ in range(300)])
        assert share * true < found < true


def test_excerpts_of_a_track_count_as_one():
    """Seven excerpts lie about each track's own distance; two tests of such scores fail as seldom as one is said to."""
    rng, audits, failed = np.random.default_rng(3), 1_000, 0
    of = np.repeat(np.arange(64), 7)

    def scores(tracks):
        near = np.repeat([0.3 + _distances(rng, tracks), 0.3 + _distances(rng, tracks)], 7, axis=1)
        return near * np.exp(0.1 * rng.normal(size=near.shape))

    for _ in range(audits):
        tested = scores(FURTHER)
        found = bounds(scores(64), of, tested=tested, false_alarms=FALSE_ALARMS)
        failed += bool(found.exceeded(tested).any())
    assert failed / audits <= FALSE_ALARMS + 3 * (FALSE_ALARMS / audits) ** 0.5


def test_more_samples_lower_a_bound_and_more_tracks_raise_it():
    rng = np.random.default_rng(4)
    scores, of = 0.3 + _distances(rng, (2, 128 * 7)), np.repeat(np.arange(128), 7)
    few = bounds(scores, of, tested=scores[:, :70], false_alarms=FALSE_ALARMS)
    many = bounds(scores, of, tested=scores[:, :700], false_alarms=FALSE_ALARMS)
    assert all(less < more for less, more in zip(many.scores, few.scores, strict=True))
    assert all(bound <= row.min() for bound, row in zip(few.scores, scores, strict=True))


def test_recordings_in_two_files_are_no_measure_and_too_few_tracks_are_refused():
    rng = np.random.default_rng(5)
    scores, of = 0.3 + _distances(rng, (2, 7 * (LEAST_TRACKS + 1))), np.repeat(np.arange(LEAST_TRACKS + 1), 7)
    clean = bounds(scores, of, tested=scores, false_alarms=FALSE_ALARMS)
    assert (clean.tracks, clean.duplicates) == (LEAST_TRACKS + 1, 0)
    scores[0, 3] = DUPLICATE / 2
    without = bounds(scores, of, tested=scores, false_alarms=FALSE_ALARMS)
    assert (without.tracks, without.duplicates) == (LEAST_TRACKS, 1)
    scores[0, 10] = DUPLICATE / 2
    with pytest.raises(CatalogueError, match="not counting 2 whose recording is in another file too"):
        bounds(scores, of, tested=scores, false_alarms=FALSE_ALARMS)


def test_a_test_without_a_measure_finds_nothing():
    """Where all tracks to calibrate by are shorter than the longer look, only the shorter one counts."""
    rng = np.random.default_rng(6)
    scores = np.stack([0.3 + _distances(rng, 64), np.full(64, np.inf)])
    found = bounds(scores, np.arange(64), tested=scores, false_alarms=FALSE_ALARMS)
    assert found.scores[1] == 0
    assert not found.exceeded(np.array([[1.0], [0.0]])).any()
