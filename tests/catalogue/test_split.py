import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sottovoce.errors import ConfigurationError
from sottovoce_client.catalogue import Consent, Track, group_of, holdout

KEY = b"a label's own"


def track(number: int, style: str = "jazz", artist: str = "", album: str = "") -> Track:
    return Track(f"{number:064x}", Path(f"{number}.wav"), style, "", artist, album, None, Consent(), 10.0)


def share(tracks: list[Track], fraction: float = 0.2) -> float:
    return len(holdout(tracks, fraction, key=KEY).held_out) / len(tracks)


catalogues = st.lists(
    st.tuples(st.sampled_from(["jazz", "folk", "punk"]), st.sampled_from(["", "A", "B", "C", "D", "E"])), max_size=60
).map(lambda drawn: [track(number, *facts) for number, facts in enumerate(drawn)])


@given(catalogues, st.floats(0.05, 0.95))
@settings(deadline=None)
def test_the_two_sides_are_a_partition_that_no_artist_straddles(tracks: list[Track], fraction: float) -> None:
    split = holdout(tracks, fraction, key=KEY)
    assert sorted(split.train + split.held_out, key=lambda t: t.digest) == tracks
    assert not {group_of(t) for t in split.train} & {group_of(t) for t in split.held_out}


@given(catalogues, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_tracks_means_nothing(tracks: list[Track], shuffler: random.Random) -> None:
    shuffled = shuffler.sample(tracks, len(tracks))
    first, second = holdout(tracks, 0.2, key=KEY), holdout(shuffled, 0.2, key=KEY)
    assert set(first.held_out) == set(second.held_out)
    assert list(second.train) == [t for t in shuffled if t in second.train]


def test_the_fraction_is_kept_in_each_style() -> None:
    tracks = [track(n, style=f"style {n % 6}", artist=f"artist {n // 3}") for n in range(600)]
    split = holdout(tracks, 0.2, key=KEY)
    for style in {t.style for t in tracks}:
        of_style = [t for t in tracks if t.style == style]
        assert 0.1 < sum(t in split.held_out for t in of_style) / len(of_style) < 0.3


def test_single_tracks_are_held_out_to_the_number() -> None:
    assert share([track(n) for n in range(50)]) == 0.2


def test_one_large_artist_is_not_held_out_for_want_of_a_better() -> None:
    tracks = [track(n, artist="prolific" if n < 80 else f"artist {n}") for n in range(100)]
    for key in range(20):
        assert len(holdout(tracks, 0.2, key=bytes([key])).held_out) == 20


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.99])
def test_a_style_with_two_artists_is_on_both_sides(fraction: float) -> None:
    tracks = [track(n, style=f"style {n % 3}", artist=f"artist {n % 6}") for n in range(60)]
    split = holdout(tracks, fraction, key=KEY)
    assert {t.style for t in split.train} == {t.style for t in split.held_out} == {t.style for t in tracks}


def test_a_style_with_one_artist_is_all_trained_on() -> None:
    assert holdout([track(n, artist="alone") for n in range(10)], 0.2, key=KEY).held_out == ()


def test_spellings_of_an_artist_are_one_artist() -> None:
    names = ["Miles Davis", "miles  davis ", "MILES DAVIS", "Ｍiles Davis"]
    assert len({group_of(track(n, artist=name)) for n, name in enumerate(names)}) == 1


def test_an_artist_nobody_knows_binds_nothing_together() -> None:
    assert group_of(track(1, artist="Various Artists", album="Hits")) == group_of(track(2, artist="", album="hits"))
    assert group_of(track(1, artist="Unknown Artist")) != group_of(track(2, artist="Unknown Artist"))
    assert group_of(track(1, artist="x")) != group_of(track(1, album="x"))


def test_tracks_that_are_added_move_few_others() -> None:
    tracks = [track(n, artist=f"artist {n // 2}") for n in range(400)]
    before = set(holdout(tracks[:380], 0.2, key=KEY).held_out)
    after = set(holdout(tracks, 0.2, key=KEY).held_out) & set(tracks[:380])
    assert len(before ^ after) <= 20 * 0.2 + 4  # the new tracks' share, and what the border passes


def test_another_key_is_another_split() -> None:
    tracks = [track(n) for n in range(100)]
    assert holdout(tracks, 0.2, key=b"a").held_out != holdout(tracks, 0.2, key=b"b").held_out
    assert holdout(tracks, 0.2, key=b"a") == holdout(tracks, 0.2, key=b"a")


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_fraction_is_between_0_and_1(fraction: float) -> None:
    with pytest.raises(ConfigurationError, match="fraction="):
        holdout([], fraction, key=KEY)


def test_a_key_is_needed() -> None:
    with pytest.raises(ConfigurationError, match="needs a key"):
        holdout([], 0.2, key=b"")
