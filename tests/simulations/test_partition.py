from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import assume, given
from hypothesis import strategies as st

from sottovoce.errors import CatalogueError, ConfigurationError
from sottovoce_simulations.engine.partition import LEAST_TRACKS, Item, Kind, Scheme, assign, partition

IID = Scheme(Kind.IID)
schemes = st.one_of(st.just(IID), st.floats(0.05, 100).map(lambda alpha: Scheme(Kind.DIRICHLET, alpha)))
items = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40)), min_size=10, max_size=200).map(
    lambda pairs: [Item(style, f"artist {group}") for style, group in pairs]
)


@given(items, st.integers(1, 8), schemes, st.integers(0, 2**32))
def test_nothing_is_lost_nothing_is_there_twice_and_artists_stay_together(items, clients, scheme, seed):
    try:
        split = assign(items, clients, scheme, seed, least=2)
    except CatalogueError:
        assume(False)
    assert sorted(index for part in split for index in part) == list(range(len(items)))
    assert len(split) == clients
    assert min(map(len, split)) >= 2
    homes: dict[str, set[int]] = {}
    for client, part in enumerate(split):
        for index in part:
            homes.setdefault(items[index].group, set()).add(client)
    assert all(len(home) == 1 for home in homes.values())
    assert split == assign(items, clients, scheme, seed, least=2)


def alone(styles):
    return [Item(style, f"track {index}") for index, style in enumerate(styles)]


def test_iid_gives_every_client_the_same_of_each_style():
    pool = alone("a" * 100 + "b" * 50)
    for part in assign(pool, 5, IID, seed=3):
        assert Counter(pool[index].style for index in part) == {"a": 20, "b": 10}


def test_a_smaller_alpha_is_more_uneven():
    pool = alone("abcde" * 200)

    def unevenness(alpha):
        scheme = Scheme(Kind.DIRICHLET, alpha)
        shares = [
            max(Counter(pool[index].style for index in part).values()) / len(part)
            for seed in range(10)
            for part in assign(pool, 5, scheme, seed)
        ]
        return float(np.mean(shares))

    assert unevenness(0.1) > unevenness(1.0) + 0.1 > unevenness(100.0) + 0.2
    assert unevenness(100.0) == pytest.approx(0.2, abs=0.05)


def test_another_seed_splits_otherwise():
    pool = alone("ab" * 50)
    assert assign(pool, 4, IID, 1) != assign(pool, 4, IID, 2)


def test_a_client_always_gets_the_least_number():
    pool = alone("a" * 60)
    for seed in range(20):
        assert min(map(len, assign(pool, 6, Scheme(Kind.DIRICHLET, 0.05), seed))) >= LEAST_TRACKS


def test_too_few_tracks_or_artists_are_named():
    with pytest.raises(CatalogueError, match="15 tracks are too few for 4 labels with at least 8"):
        assign(alone("a" * 15), 4, IID, 0)
    with pytest.raises(CatalogueError, match=r"too few artists for 4 labels with 8 tracks"):
        assign([Item("a", f"artist {index % 3}") for index in range(60)], 4, IID, 0)


@pytest.mark.parametrize("text", ["iid", "as-is", "dirichlet:0.5", "dirichlet:100"])
def test_a_scheme_reads_what_it_writes(text):
    assert str(Scheme.parse(text)) == text
    assert Scheme.parse(f" {text.upper()} ") == Scheme.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("even", "Unknown partition 'even'"),
        ("", "Unknown partition ''"),
        ("iid:3", "'iid' takes no number"),
        ("dirichlet", "'dirichlet' needs a number"),
        ("dirichlet:much", "'dirichlet:much' needs a number"),
        ("dirichlet:0", "ALPHA=0.0 > 0"),
        ("dirichlet:-1", "ALPHA=-1.0 > 0"),
        ("dirichlet:nan", "ALPHA=nan > 0"),
        ("dirichlet:inf", "ALPHA=inf > 0"),
    ],
)
def test_what_is_no_scheme_is_refused(text, message):
    with pytest.raises(ConfigurationError, match=message) as refusal:
        Scheme.parse(text)
    assert "dirichlet:0.5" in (refusal.value.hint or "")


def music(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = np.random.default_rng(seed).normal(0, 0.1, 8000 * 5)
    soundfile.write(path, sound, 8000)


@pytest.fixture
def pool(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "pool"
    for index in range(24):
        music(root / "ab"[index % 2] / f"{index}.wav", index)
    return root


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.wav")}


def test_a_pool_becomes_folders_that_scan_as_catalogues(pool, tmp_path):
    from sottovoce_client.catalogue import scan

    labels = partition(pool, tmp_path / "out", 3, IID, 1)
    assert [label.name for label in labels] == ["label-01", "label-02", "label-03"]
    assert set.union(*map(files, labels)) == files(pool)
    assert sum(len(files(label)) for label in labels) == 24
    for label in labels:
        catalogue = scan(label)
        assert not catalogue.unusable
        assert {track.style for track in catalogue.tracks} == {"a", "b"}


def test_an_equal_split_is_kept_and_a_changed_pool_is_split_anew(pool, tmp_path):
    first = partition(pool, tmp_path / "out", 3, IID, 1)
    inode = first[0].stat().st_ino
    assert partition(pool, tmp_path / "out", 3, IID, 1) == first
    assert first[0].stat().st_ino == inode
    music(pool / "a" / "new.wav", 99)
    labels = partition(pool, tmp_path / "out", 3, IID, 1)
    assert set.union(*map(files, labels)) == files(pool)


def test_consent_and_artists_survive_the_split(pool, tmp_path):
    from sottovoce_client.catalogue import Purpose, scan

    rows = [f"{path},{path[0]},artist {index // 3},style until 2099-12-31" for index, path in enumerate(files(pool))]
    (pool / "catalogue.csv").write_text("path,style,artist,consent\n" + "\n".join(rows))
    homes: dict[str, set[Path]] = {}
    for label in partition(pool, tmp_path / "out", 2, Scheme(Kind.DIRICHLET, 1.0), 1):
        for track in scan(label).tracks:
            homes.setdefault(track.artist, set()).add(label)
            assert [purpose for purpose, until in track.consent.grants if until] == [Purpose.STYLE]
    assert len(homes) == 8
    assert all(len(home) == 1 for home in homes.values())


def test_a_file_system_without_hard_links_gets_copies(pool, tmp_path, monkeypatch):
    def no_link(*_):
        raise OSError("no links here")

    monkeypatch.setattr("os.link", no_link)
    labels = partition(pool, tmp_path / "out", 2, IID, 1)
    assert set.union(*map(files, labels)) == files(pool)


def test_as_is_takes_each_catalogue_below_a_folder(pool, tmp_path):
    root = tmp_path / "labels"
    for name in ("one", "two"):
        music(root / name / "jazz" / "1.wav", 1)
    music(root / "sheet" / "1.wav", 2)
    (root / "sheet" / "catalogue.csv").write_text("path,style\n1.wav,jazz\n")
    (root / "notes").mkdir()
    (root / ".sottovoce").mkdir()
    (root / "readme.txt").touch()
    labels = partition(root, tmp_path / "out", None, Scheme(Kind.AS_IS), 1)
    assert [label.name for label in labels] == ["one", "sheet", "two"]


def test_as_is_says_when_it_is_given_one_pool(pool, tmp_path):
    with pytest.raises(CatalogueError, match="contains no catalogues") as refusal:
        partition(pool, tmp_path / "out", None, Scheme(Kind.AS_IS), 1)
    assert "--clients" in (refusal.value.hint or "")
    (pool / "catalogue.csv").write_text("path,style\n")
    with pytest.raises(CatalogueError, match="is one catalogue"):
        partition(pool, tmp_path / "out", None, Scheme(Kind.AS_IS), 1)


def test_scheme_and_clients_must_go_together(pool, tmp_path):
    with pytest.raises(ConfigurationError, match="uses each folder as one label"):
        partition(pool, tmp_path / "out", 3, Scheme(Kind.AS_IS), 1)
    with pytest.raises(ConfigurationError, match="needs a number of clients"):
        partition(pool, tmp_path / "out", None, IID, 1)
    with pytest.raises(CatalogueError, match="is not a folder"):
        partition(tmp_path / "nowhere", tmp_path / "out", None, Scheme(Kind.AS_IS), 1)
