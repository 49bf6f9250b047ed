import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.errors import ConfigurationError
from sottovoce_client.catalogue import Consent, Track, group_of, holdout

KEY = b"a label's own"


def track(number: int, style: str = "jazz", artist: str = "", album: str = "") -> Track:
    return Track(
        f"{number:064x}", f"{number:064x}", Path(f"{number}.wav"), style, "", artist, album, None, Consent(), 10.0
    )


def share(tracks: list[Track], fraction: float = 0.2) -> float:
    return len(holdout(tracks, fraction, key=KEY).held_out) / len(tracks)


catalogues = st.lists(
    st.tuples(st.sampled_from(["jazz", "folk", "punk"]), st.sampled_from(["", "A", "B", "C", "D", "E"])), max_size=60
).map(lambda drawn: [track(number, *facts) for number, facts in enumerate(drawn)])


@given(catalogues, st.floats(0.05, 0.95))
def test_the_two_sides_are_a_partition_that_no_artist_straddles(tracks: list[Track], fraction: float) -> None:
    split = holdout(tracks, fraction, key=KEY)
    assert sorted(split.train + split.held_out, key=lambda t: t.digest) == tracks
    assert not {group_of(t) for t in split.train} & {group_of(t) for t in split.held_out}


@given(catalogues, st.randoms(use_true_random=False))
def test_the_order_of_tracks_means_nothing(tracks: list[Track], shuffler: random.Random) -> None:
    shuffled = shuffler.sample(tracks, len(tracks))
    first, second = holdout(tracks, 0.2, key=KEY), holdout(shuffled, 0.2, key=KEY)
    assert set(first.held_out) == set(second.held_out)
    assert list(second.train) == [t for t in shuffled if t in second.train]


def test_the_fraction_is_kept_on_average() -> None:
    assert share([track(n) for n in range(4000)]) == pytest.approx(0.2, abs=0.02)  # three standard deviations
    assert share([track(n, artist=f"artist {n // 3}") for n in range(12000)]) == pytest.approx(0.2, abs=0.02)


def test_styles_of_many_artists_are_on_both_sides() -> None:
    tracks = [track(n, style=f"style {n % 6}", artist=f"artist {n % 240}") for n in range(600)]
    split = holdout(tracks, 0.2, key=KEY)
    assert {t.style for t in split.train} == {t.style for t in split.held_out} == {t.style for t in tracks}


def test_spellings_of_an_artist_are_one_artist() -> None:
    names = ["Miles Davis", "miles  davis ", "MILES DAVIS", "Ｍiles Davis"]
    assert len({group_of(track(n, artist=name)) for n, name in enumerate(names)}) == 1


def test_an_artist_nobody_knows_binds_nothing_together() -> None:
    assert group_of(track(1, artist="Various Artists", album="Hits")) == group_of(track(2, artist="", album="hits"))
    assert group_of(track(1, artist="Unknown Artist")) != group_of(track(2, artist="Unknown Artist"))
    assert group_of(track(1, artist="x")) != group_of(track(1, album="x"))


@given(catalogues, st.integers(0, 59))
def test_no_track_moves_another(tracks: list[Track], index: int) -> None:
    """The neighbouring relation: a catalogue with one track less has a training set with at most that one less."""
    if not tracks:
        return
    without = [t for t in tracks if t is not tracks[index % len(tracks)]]
    whole, less = holdout(tracks, 0.2, key=KEY), holdout(without, 0.2, key=KEY)
    assert set(whole.train) & set(without) == set(less.train)
    assert set(whole.held_out) & set(without) == set(less.held_out)


def test_another_key_is_another_split() -> None:
    tracks = [track(n) for n in range(100)]
    assert holdout(tracks, 0.2, key=b"a").held_out != holdout(tracks, 0.2, key=b"b").held_out
    assert holdout(tracks, 0.2, key=b"a") == holdout(tracks, 0.2, key=b"a")


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_fraction_is_between_0_and_1(fraction: float) -> None:
    with pytest.raises(ConfigurationError, match="share="):
        holdout([track(1)], fraction, key=KEY)


def test_a_key_is_needed() -> None:
    with pytest.raises(ConfigurationError, match="needs a key"):
        holdout([track(1)], 0.2, key=b"")
