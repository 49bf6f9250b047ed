import os
import sqlite3
from pathlib import Path

import pytest

from sottovoce.errors import CatalogueError
from sottovoce_client.catalogue import default_index, file_facts, scan
from sottovoce_client.catalogue import index as index_module
from sottovoce_client.catalogue.index import APPLICATION


def test_a_second_scan_opens_only_what_changed(root: Path, index: Path, write, opened) -> None:
    for number in range(6):
        write(f"jazz/{number}.wav")
    first = scan(root, index=index)
    assert first.opened == 6
    with opened(root) as names:
        second = scan(root, index=index)
    assert (names, second.opened, second.tracks) == ([], 0, first.tracks)

    write("jazz/0.wav")  # another content
    times = (root / "jazz" / "1.wav").stat()
    os.utime(root / "jazz" / "1.wav", ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    (root / "jazz" / "2.wav").rename(root / "jazz" / "2b.wav")
    same = (root / "jazz" / "3.wav").stat()
    replacement = write("other/3.wav", tone=7)
    os.utime(replacement, ns=(same.st_atime_ns, same.st_mtime_ns))
    replacement.replace(root / "jazz" / "3.wav")  # same name, size and time, but another inode
    (root / "jazz" / "4.wav").unlink()
    with opened(root) as names:
        third = scan(root, index=index)
    assert sorted(names) == ["0.wav", "1.wav", "2b.wav", "3.wav"]
    assert third.opened == 4
    assert len({track.digest for track in third.tracks} - {track.digest for track in first.tracks}) == 2


def test_unusable_files_are_remembered_too(root: Path, index: Path, write, opened) -> None:
    write("jazz/a.wav")
    (root / "jazz" / "bad.wav").write_bytes(b"not audio at all" * 100)
    first = scan(root, index=index)
    with opened(root) as names:
        assert scan(root, index=index).unusable == first.unusable != ()
    assert names == []


def test_what_the_sheet_says_is_never_remembered(root: Path, index: Path, write) -> None:
    write("a.wav")
    (root / "catalogue.csv").write_text("path,style\na.wav,jazz\n")
    scan(root, index=index)
    (root / "catalogue.csv").write_text("path,style\na.wav,folk\n")
    assert [track.style for track in scan(root, index=index).tracks] == ["folk"]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_scan_goes_on_where_it_was(root: Path, index: Path, write, workers: int) -> None:
    for number in range(20):
        write(f"jazz/{number:02}.wav")

    def interrupt(done: int, total: int | None) -> None:
        if total is not None and done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(root, index=index, workers=workers, progress=interrupt)
    catalogue = scan(root, index=index, workers=workers)
    assert len(catalogue.tracks) == 20
    assert catalogue.opened == 13


@pytest.mark.parametrize("damage", ["header", "middle", "truncated", "text", "name"])
def test_a_damaged_index_is_begun_anew(root: Path, index: Path, write, damage: str) -> None:
    for number in range(3):
        write(f"jazz/{number}.wav")
    scan(root, index=index)
    data = bytearray(index.read_bytes())
    match damage:
        case "header":
            data[:100] = bytes(100)
        case "middle":
            data[4096:] = os.urandom(len(data) - 4096)
        case "truncated":
            del data[5000:]
        case "name":  # no text any more, which SQLite's own message quotes
            assert data.count(b"tablefilesfiles") == 1
            data = data.replace(b"tablefilesfiles", b"table\xe6ilesfiles")
        case "text":
            data = bytearray(b"a list of songs that somebody named by mistake")
    index.write_bytes(data)
    catalogue = scan(root, index=index)
    assert (len(catalogue.tracks), catalogue.opened) == (3, 3)
    assert index.with_name("index.sqlite.damaged").read_bytes() == data
    assert scan(root, index=index).opened == 0


def test_an_index_of_another_version_is_begun_anew(root: Path, index: Path, write) -> None:
    write("jazz/a.wav")
    scan(root, index=index)
    with sqlite3.connect(index) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    assert scan(root, index=index).opened == 1


def test_a_database_of_another_program_is_left_alone(root: Path, index: Path, write) -> None:
    write("jazz/a.wav")
    with sqlite3.connect(index) as connection:
        connection.execute("CREATE TABLE files (name TEXT)")
    connection.close()
    before = index.read_bytes()
    with pytest.raises(CatalogueError, match="it is the database of another program"):
        scan(root, index=index)
    assert index.read_bytes() == before


def test_an_index_that_cannot_be_written_is_an_error_with_a_way_out(root: Path, tmp_path: Path, write) -> None:
    write("jazz/a.wav")
    (tmp_path / "file").touch()
    with pytest.raises(CatalogueError, match="index cannot be used") as caught:
        scan(root, index=tmp_path / "file" / "index.sqlite")
    assert "--index" in (caught.value.hint or "")
    with pytest.raises(CatalogueError, match="index cannot be used"):
        scan(root, index=tmp_path)


def test_files_that_are_gone_are_forgotten(root: Path, index: Path, write) -> None:
    write("jazz/a.wav")
    write("jazz/b.wav").rename(root / "jazz" / "c.wav")
    scan(root, index=index)
    (root / "jazz" / "c.wav").unlink()
    scan(root, index=index)
    with sqlite3.connect(index) as connection:
        assert connection.execute("SELECT path FROM files").fetchall() == [(b"jazz/a.wav",)]
    connection.close()


def test_an_index_is_its_owners_only_and_says_whose_it_is(root: Path, index: Path, write) -> None:
    write("jazz/a.wav")
    scan(root, index=index)
    assert index.stat().st_mode & 0o777 == 0o600
    assert int.from_bytes(index.read_bytes()[68:72], "big") == APPLICATION


@pytest.fixture
def users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's cache folder is below `tmp_path`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.usefixtures("users_cache")
def test_by_default_it_lives_in_the_users_cache_and_each_catalogue_has_its_own(
    root: Path, tmp_path: Path, write
) -> None:
    write("jazz/a.wav")
    assert scan(root).opened == 1
    assert default_index(root).is_file()
    assert tmp_path in default_index(root).parents
    assert root not in default_index(root).parents
    assert default_index(root) != default_index(tmp_path)
    (tmp_path / "link").symlink_to(root)
    assert scan(tmp_path / "link").opened == 0


@pytest.mark.usefixtures("users_cache")
def test_another_version_beside_it_leaves_the_index_alone(root: Path, write) -> None:
    write("jazz/a.wav")
    inner: list[int] = []

    def scan_with_another_version(done: int, total: int | None) -> None:
        if total is not None and not inner:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(index_module, "VERSION", index_module.VERSION + 1)
                inner.append(scan(root, workers=1).opened)

    assert scan(root, workers=1, progress=scan_with_another_version).opened == 1
    assert inner == [1]
    assert scan(root, workers=1).opened == 0


def test_two_scans_at_once_share_an_index(root: Path, index: Path, write) -> None:
    for number in range(8):
        write(f"jazz/{number}.wav")
    inner: list[int] = []

    def scan_again(done: int, total: int | None) -> None:
        if total is not None and done == 4 and not inner:
            inner.append(len(scan(root, index=index, workers=1).tracks))

    assert len(scan(root, index=index, workers=1, progress=scan_again).tracks) == 8
    assert inner == [8]


def test_each_file_is_examined_once(root: Path, index: Path, write, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        write(f"jazz/{number}.wav")
    seen: list[Path] = []
    real = file_facts.examine
    monkeypatch.setattr("sottovoce_client.catalogue.scanning.examine", lambda path: seen.append(path) or real(path))
    scan(root, index=index, workers=1)
    assert sorted(seen) == sorted(root.rglob("*.wav"))


def test_an_index_that_fails_on_the_way_is_an_error_of_its_own(root: Path, index: Path, write) -> None:
    write("jazz/a.wav")

    def drop(done: int, total: int | None) -> None:
        if total is not None and not done:
            with sqlite3.connect(index) as connection:
                connection.execute("DROP TABLE files")
            connection.close()

    with pytest.raises(CatalogueError, match="index cannot be used: no such table"):
        scan(root, index=index, workers=1, progress=drop)
