import os
import shutil
import tempfile
from datetime import date
from pathlib import Path

import mutagen
import numpy as np
import pytest
import soundfile

from sottovoce.errors import CatalogueError
from sottovoce.files import sha256_file
from sottovoce_client.catalogue import Consent, NothingUsable, Purpose, file_facts, scan
from sottovoce_client.catalogue.tracks import Catalogue

RATE = 16_000
NOBODY = 65_534


def reasons(catalogue: Catalogue) -> dict[str, str]:
    return {file.path: str(file.reason) for file in catalogue.unusable}


def paths(catalogue: Catalogue) -> list[str]:
    return [track.path.relative_to(catalogue.root).as_posix() for track in catalogue.tracks]


def details(catalogue: Catalogue) -> dict[str, str]:
    return {file.path: file.detail for file in catalogue.unusable}


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "opus", "mp3"])
def test_every_format_is_a_track(root: Path, index: Path, write, extension: str, workers: int) -> None:
    path = write(f"jazz/album/a.{extension}", channels=2, seconds=5)
    [track] = scan(root, index=index, workers=workers).tracks
    assert (track.path, track.style, track.digest) == (path, "jazz", sha256_file(path))
    assert track.seconds == pytest.approx(5, abs=0.1)
    assert (track.title, track.artist, track.album, track.isrc) == ("", "", "", None)
    assert track.consent == Consent.to(Purpose.STYLE)


def test_unusable_files_are_reported_and_the_rest_is_scanned(root: Path, index: Path, write, tmp_path: Path) -> None:
    good = write("jazz/good.flac")
    silent, nan = np.zeros(5 * RATE), np.full(5 * RATE, 0.1)
    nan[RATE] = np.nan
    soundfile.write(root / "jazz" / "silent.wav", silent, RATE)
    soundfile.write(root / "jazz" / "nan.wav", nan, RATE, subtype="FLOAT")
    soundfile.write(root / "jazz" / "no-samples.wav", silent[:0], RATE)
    write("jazz/short.wav", seconds=3.9)
    (root / "jazz" / "nothing.mp3").touch()
    (root / "jazz" / "text.wav").write_text("This is a text, whatever its name says.\n" * 50)
    (root / "jazz" / "copy.flac").write_bytes(good.read_bytes())
    whole = write("jazz/truncated.flac").read_bytes()
    (root / "jazz" / "truncated.flac").write_bytes(whole[: len(whole) // 2])
    damaged = bytearray(write("jazz/corrupt.flac").read_bytes())
    for place in range(len(damaged) // 4, len(damaged), 500):
        damaged[place : place + 100] = os.urandom(len(damaged[place : place + 100]))
    (root / "jazz" / "corrupt.flac").write_bytes(damaged)
    content = bytearray(write("jazz/no-rate.wav").read_bytes())
    content[24:28] = (2**31 - 1).to_bytes(4, "little")
    (root / "jazz" / "no-rate.wav").write_bytes(content)
    write("unstyled.wav")
    (root / "jazz" / "out.wav").symlink_to(tmp_path / "elsewhere.wav")
    catalogue = scan(root, index=index)
    assert paths(catalogue) == ["jazz/copy.flac"]
    assert reasons(catalogue) == {
        "jazz/corrupt.flac": "corrupt",
        "jazz/good.flac": "duplicate",
        "jazz/nan.wav": "not finite",
        "jazz/no-rate.wav": "sample rate",
        "jazz/no-samples.wav": "empty",
        "jazz/nothing.mp3": "empty",
        "jazz/out.wav": "outside",
        "jazz/short.wav": "too short",
        "jazz/silent.wav": "silent",
        "jazz/text.wav": "not audio",
        "jazz/truncated.flac": "truncated",
        "unstyled.wav": "no style",
    }
    assert details(catalogue)["jazz/short.wav"] == "It lasts 3.90 s, less than a segment of 4 s."
    assert all(file.detail for file in catalogue.unusable)


def test_a_segment_decides_what_is_short(root: Path, index: Path, write) -> None:
    write("jazz/a.wav", seconds=2)
    assert len(scan(root, index=index, segment_seconds=2.0).tracks) == 1
    with pytest.raises(NothingUsable, match="1 too short"):
        scan(root, index=index, segment_seconds=2.1)


def test_the_first_of_equal_files_wins_and_contradictions_are_named(root: Path, index: Path, write) -> None:
    for path in ("b/2.wav", "a/3.wav", "a/1.wav"):
        write(path, tone=1)
    catalogue = scan(root, index=index, workers=3)
    assert paths(catalogue) == ["a/1.wav"]
    assert details(catalogue) == {
        "a/3.wav": "Its content is the same as that of a/1.wav.",
        "b/2.wav": "Its content is the same as that of a/1.wav, "
        "and they contradict each other: style 'a' there, 'b' here.",
    }


def test_a_duplicate_with_another_consent_is_named(root: Path, index: Path, write) -> None:
    write("1.wav", tone=1)
    write("2.wav", tone=1)
    (root / "catalogue.csv").write_text("path,style,consent\n1.wav,jazz,\n2.wav,jazz,editor\n")
    assert "consent 'style' there, 'editor' here" in details(scan(root, index=index))["2.wav"]


def test_the_sheet_speaks_first_and_tags_where_it_is_silent(root: Path, index: Path, write) -> None:
    file = mutagen.File(write("x/a.flac"))
    for name in ("title", "artist", "album", "genre", "isrc"):
        file[name] = f"embedded {name}"
    file.save()
    (root / "catalogue.csv").write_text("path,style,title,artist\nx/a.flac,,So What,\n")
    [track] = scan(root, index=index).tracks
    assert (track.title, track.artist, track.album) == ("So What", "embedded artist", "embedded album")
    assert track.style == "embedded genre"
    (root / "catalogue.csv").unlink()
    assert scan(root, index=index).tracks[0].style == "x"


def test_a_file_the_sheet_does_not_list_is_not_opened(root: Path, index: Path, write, opened) -> None:
    write("jazz/listed.wav")
    write("jazz/unlisted.wav")
    (root / "catalogue.csv").write_text("path,style\njazz/listed.wav,jazz\n")
    with opened(root) as names:
        catalogue = scan(root, index=index)
    assert sorted(names) == ["catalogue.csv", "listed.wav"]
    assert details(catalogue) == {"jazz/unlisted.wav": "catalogue.csv does not list it."}


@pytest.mark.parametrize("code", ["USSM15900113", "us-sm1-59-00113", "ISRC US-SM1-59-00113"])
def test_an_isrc_is_kept_in_its_bare_form(root: Path, index: Path, write, code: str) -> None:
    write("a.wav")
    (root / "catalogue.csv").write_text(f"path,style,isrc\na.wav,jazz,{code}\n")
    catalogue = scan(root, index=index)
    assert (catalogue.tracks[0].isrc, catalogue.remarks) == ("USSM15900113", ())


def test_a_wrong_isrc_is_remarked_on_and_the_track_stays(root: Path, index: Path, write) -> None:
    write("a.wav")
    (root / "catalogue.csv").write_text("path,style,isrc\na.wav,jazz,USSM1590011\n")
    catalogue = scan(root, index=index)
    assert catalogue.tracks[0].isrc is None
    assert [(remark.path, remark.detail[:33]) for remark in catalogue.remarks] == [
        ("a.wav", "'USSM1590011' is not an ISRC (two")
    ]


def test_two_recordings_with_one_isrc_are_remarked_on(root: Path, index: Path, write) -> None:
    write("a.wav")
    write("b.mp3")
    (root / "catalogue.csv").write_text("path,style,isrc\na.wav,jazz,USSM15900113\nb.mp3,jazz,USSM15900113\n")
    catalogue = scan(root, index=index)
    assert len(catalogue.tracks) == 2
    assert [remark.detail for remark in catalogue.remarks] == [
        "It has the same ISRC as a.wav: if they are one recording, keep one."
    ]


def test_a_track_without_consent_is_never_opened(root: Path, index: Path, write, opened) -> None:
    for name in ("yes", "no", "late", "other", "wrong"):
        write(f"{name}.wav")
    (root / "catalogue.csv").write_text(
        "path,style,consent\nyes.wav,jazz,\nno.wav,jazz,none\nlate.wav,jazz,style until 2026-05-31\n"
        "other.wav,jazz,generator; editor\nwrong.wav,jazz,sytle\n"
    )
    options = {"index": index, "today": date(2026, 6, 1)}
    with opened(root) as names:
        catalogue = scan(root, purposes=frozenset({Purpose.STYLE}), **options)
    assert sorted(names) == ["catalogue.csv", "yes.wav"]
    assert catalogue.withheld == ("late.wav", "no.wav", "other.wav")
    assert reasons(catalogue) == {"wrong.wav": "bad row"}
    with opened(root) as names:
        scan(root, purposes=frozenset({Purpose.EDITOR}), **options)
    assert sorted(names) == ["catalogue.csv", "other.wav"]


def test_tracks_are_chosen_for_a_purpose_and_a_day(root: Path, index: Path, write) -> None:
    write("a.wav")
    write("b.wav")
    (root / "catalogue.csv").write_text("path,style,consent\na.wav,jazz,\nb.wav,jazz,style until 2027-01-31\n")
    catalogue = scan(root, index=index, today=date(2027, 1, 1))
    assert len(catalogue.for_purpose(Purpose.STYLE, date(2027, 1, 31))) == 2
    assert [t.path.name for t in catalogue.for_purpose(Purpose.STYLE, date(2027, 2, 1))] == ["a.wav"]
    assert catalogue.for_purpose(Purpose.EDITOR, date(2027, 1, 1)) == ()


def test_a_file_that_may_not_be_read_is_asked_again_next_time(
    root: Path, index: Path, write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("jazz/a.wav")
    write("jazz/b.wav")
    sha256 = file_facts.sha256_file

    def guarded(path: Path) -> str:
        if path.name == "b.wav":
            raise PermissionError(13, "Permission denied")
        return sha256(path)

    monkeypatch.setattr(file_facts, "sha256_file", guarded)
    assert reasons(scan(root, index=index, workers=1)) == {"jazz/b.wav": "no permission"}
    monkeypatch.undo()
    assert len(scan(root, index=index).tracks) == 2


@pytest.mark.skipif(not hasattr(os, "seteuid") or os.geteuid() != 0, reason="only root can become somebody else")
def test_the_systems_permissions_are_reported(write) -> None:
    """A real file of mode 0, read by a process that is not root."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        kept = shutil.copy(write("jazz/a.wav"), folder)
        Path(kept).chmod(0)
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            try:
                os.seteuid(NOBODY)
                facts = file_facts.examine(Path(kept))
                os._exit(0 if facts.reason == "no permission" and not facts.lasting else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_file_that_vanishes_during_the_scan_is_missing(root: Path, index: Path, write) -> None:
    write("jazz/a.wav")
    gone = write("jazz/b.wav")

    def vanish(done: int, total: int | None) -> None:
        if total is not None:
            gone.unlink(missing_ok=True)

    catalogue = scan(root, index=index, workers=1, progress=vanish)
    assert (paths(catalogue), reasons(catalogue)) == (["jazz/a.wav"], {"jazz/b.wav": "missing"})


def test_names_that_are_no_text_are_names(root: Path, index: Path, write) -> None:
    (root / "jazz").mkdir()
    name = os.fsdecode(b"jazz/\xff[bold]\x1b[31m.wav")
    write("jazz/a.wav").rename(root / name)
    assert paths(scan(root, index=index)) == [name]
    assert scan(root, index=index).opened == 0


def test_progress_counts_to_the_end(root: Path, index: Path, write) -> None:
    for number in range(5):
        write(f"jazz/{number}.wav")
    told: list[tuple[int, int | None]] = []
    scan(root, index=index, workers=2, progress=lambda done, total: told.append((done, total)))
    assert [done for done, total in told if total is None] == [1, 2, 3, 4, 5]
    assert [done for done, total in told if total == 5] == [0, 1, 2, 3, 4, 5]


def test_a_catalogue_is_left_as_it_is(root: Path, index: Path, write) -> None:
    write("jazz/a.wav")
    before = sorted((path, path.stat().st_mtime_ns) for path in root.rglob("*"))
    scan(root, index=index)
    assert sorted((path, path.stat().st_mtime_ns) for path in root.rglob("*")) == before


def test_only_a_catalogue_with_nothing_usable_is_an_error(root: Path, index: Path, write) -> None:
    write("jazz/short.wav", seconds=1)
    write("a.wav")
    (root / "jazz" / "notes.txt").touch()
    with pytest.raises(NothingUsable) as caught:
        scan(root, index=index)
    error = caught.value
    assert error.exit_code == 2
    assert error.message == "Nothing in this catalogue can be used: 1 no style, 1 too short, 1 ignored."
    assert reasons(error.catalogue) == {"a.wav": "no style", "jazz/short.wav": "too short"}


def test_an_empty_folder_is_an_error(root: Path, index: Path) -> None:
    with pytest.raises(NothingUsable, match="it is empty"):
        scan(root, index=index)


def test_a_catalogue_without_consent_says_so(root: Path, index: Path, write, opened) -> None:
    write("jazz/a.wav")
    with opened(root) as names, pytest.raises(NothingUsable, match="1 without consent"):
        scan(root, index=index, purposes=frozenset({Purpose.GENERATOR}))
    assert names == []


def test_a_missing_folder_is_an_error_that_does_not_name_it(tmp_path: Path, index: Path) -> None:
    with pytest.raises(CatalogueError, match=r"^There is no such folder\.$"):
        scan(tmp_path / "secret", index=index)
    (tmp_path / "file").touch()
    with pytest.raises(CatalogueError, match="a file, not a folder"):
        scan(tmp_path / "file", index=index)
