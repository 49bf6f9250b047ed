import os
import unicodedata
from datetime import date
from pathlib import Path

import pytest

from sottovoce_client.catalogue.consent import DEFAULT_CONSENT, Consent, Purpose
from sottovoce_client.catalogue.folder_layout import Candidate, Withheld, candidates
from sottovoce_client.catalogue.tracks import Rejected
from sottovoce_client.catalogue.walk import Ignored

TODAY = date(2026, 6, 1)


def found(root: Path, **options) -> dict[str, str]:
    """Each path and what it is: its style, the reason against it, `withheld` or `ignored`."""
    settings = {"purposes": frozenset(Purpose), "today": TODAY, "default_consent": DEFAULT_CONSENT} | options
    outcome = {}
    for entry in candidates(root, **settings):
        match entry:
            case Candidate():
                outcome[entry.file.path] = entry.style
            case Rejected():
                outcome[entry.path] = str(entry.reason)
            case Withheld():
                outcome[entry.path] = "withheld"
            case Ignored():
                outcome[entry.path] = "ignored"
    return outcome


def put(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"never opened here")


def test_the_first_folder_is_the_style_at_any_depth(root: Path) -> None:
    deep = "jazz/" + "/".join("d" * 40 for _ in range(60))
    (root / "jazz").mkdir()
    descend = root / "jazz"
    for part in deep.split("/")[1:]:
        descend = descend / part
        descend.mkdir()
    put(root, f"{deep}/a.wav", "folk/b.FLAC", "folk/x/c.Mp3", "d.opus")
    assert found(root) == {"d.opus": "", "folk/b.FLAC": "folk", "folk/x/c.Mp3": "folk", f"{deep}/a.wav": "jazz"}


def test_the_walk_is_sorted_and_passes_over_what_promises_no_audio(root: Path) -> None:
    put(root, "jazz/cover.jpg", "jazz/._a.wav", "jazz/.DS_Store", ".sottovoce/jazz/z.wav", "jazz/a.wav", "readme.txt")
    assert found(root) == {
        ".sottovoce": "ignored",
        "jazz/.DS_Store": "ignored",
        "jazz/._a.wav": "ignored",
        "jazz/a.wav": "jazz",
        "jazz/cover.jpg": "ignored",
        "readme.txt": "ignored",
    }


def test_audio_of_another_format_is_named_so_that_it_can_be_converted(root: Path) -> None:
    put(root, "jazz/a.m4a")
    [entry] = candidates(root, purposes=frozenset(Purpose), today=TODAY, default_consent=DEFAULT_CONSENT)
    assert entry == Rejected(
        "jazz/a.m4a", "not audio", "'.m4a' is not one of WAV, FLAC, OGG, Opus and MP3: convert it."
    )


def test_two_spellings_of_a_folder_are_one_style(root: Path) -> None:
    put(root, "Björk/a.wav", unicodedata.normalize("NFD", "Björk") + "/b.wav")
    assert set(found(root).values()) == {"Björk"}


@pytest.mark.timeout(10)
def test_links_and_pipes(root: Path, tmp_path: Path) -> None:
    put(root, "jazz/a.wav", "folk/b.wav")
    put(tmp_path, "outside/c.wav")
    (root / "jazz" / "again.wav").symlink_to("../folk/b.wav")
    (root / "jazz" / "folk").symlink_to("../folk")
    (root / "jazz" / "loop").symlink_to("..")
    (root / "jazz" / "self.wav").symlink_to("self.wav")
    (root / "jazz" / "nowhere.wav").symlink_to("missing.wav")
    (root / "jazz" / "out.wav").symlink_to(tmp_path / "outside" / "c.wav")
    (root / "jazz" / "far").symlink_to(tmp_path / "outside")
    (root / "jazz" / "beside").symlink_to(tmp_path / "catalogue-2")
    os.mkfifo(root / "jazz" / "pipe.wav")
    assert found(root) == {
        "folk/b.wav": "folk",
        "jazz/a.wav": "jazz",
        "jazz/again.wav": "jazz",
        "jazz/beside": "outside",
        "jazz/far": "outside",
        "jazz/folk": "ignored",
        "jazz/loop": "ignored",
        "jazz/nowhere.wav": "missing",
        "jazz/out.wav": "outside",
        "jazz/pipe.wav": "not audio",
        "jazz/self.wav": "unreadable",
    }


def test_a_catalogue_may_itself_be_a_link(root: Path, tmp_path: Path) -> None:
    put(root, "jazz/a.wav")
    (tmp_path / "link").symlink_to(root)
    assert found(tmp_path / "link") == {"jazz/a.wav": "jazz"}


def test_an_unreadable_folder_is_reported_and_the_rest_is_scanned(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root, "folk/b.wav", "jazz/a.wav")
    scandir = os.scandir

    def guarded(path):
        if Path(path).name == "folk":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert found(root) == {"folk": "no permission", "jazz/a.wav": "jazz"}


def test_a_sheet_lists_the_catalogue(root: Path) -> None:
    put(root, "a.wav", "rock/b.wav", "rock/unlisted.wav", "rock/cover.jpg", "take.bin", ".hidden/c.wav")
    (root / "catalogue.csv").write_text(
        "path,style\na.wav,jazz\nrock/b.wav,folk\ntake.bin,folk\n.hidden/c.wav,punk\nrock/d.wav,punk\nrock,punk\n"
    )
    assert found(root) == {
        ".hidden": "ignored",
        "a.wav": "jazz",
        "rock/b.wav": "folk",
        "rock/cover.jpg": "ignored",
        "rock/unlisted.wav": "no style",
        "take.bin": "folk",
        ".hidden/c.wav": "punk",
        "rock/d.wav": "missing",
        "rock": "not audio",
    }


def test_a_row_finds_its_file_in_another_spelling(root: Path) -> None:
    name = unicodedata.normalize("NFD", "Björk.wav")
    put(root, name)
    (root / "catalogue.csv").write_text("path,style\nBjörk.wav,pop\n")
    assert found(root) == {name: "pop"}


@pytest.mark.parametrize("path", ["../outside/c.wav", "/etc/passwd", "x/../../outside/c.wav", "far/c.wav", "out.wav"])
def test_a_row_that_leads_out_is_rejected(root: Path, tmp_path: Path, path: str) -> None:
    put(tmp_path, "outside/c.wav")
    (root / "far").symlink_to(tmp_path / "outside")
    (root / "out.wav").symlink_to(tmp_path / "outside" / "c.wav")
    (root / "catalogue.csv").write_text(f"path,style\n{path},jazz\n")
    entries = candidates(root, purposes=frozenset(Purpose), today=TODAY, default_consent=DEFAULT_CONSENT)
    details = [entry.detail for entry in entries if isinstance(entry, Rejected) and "line" in entry.detail]
    assert details == ["catalogue.csv, line 2: it leads out of the catalogue."]


def test_consent_decides_before_anything_is_opened(root: Path) -> None:
    put(root, "a.wav", "b.wav", "c.wav", "d.wav", "e.wav")
    (root / "catalogue.csv").write_text(
        "path,style,consent\n"
        "a.wav,jazz,\nb.wav,jazz,generator\nc.wav,jazz,none\n"
        "d.wav,jazz,style until 2026-05-31\ne.wav,jazz,stlye\n"
    )
    any_purpose = {"a.wav": "jazz", "b.wav": "jazz", "c.wav": "withheld", "d.wav": "withheld", "e.wav": "bad row"}
    assert found(root) == any_purpose
    assert found(root, purposes=frozenset({Purpose.STYLE})) == any_purpose | {"b.wav": "withheld"}
    assert found(root, today=date(2026, 5, 31)) == any_purpose | {"d.wav": "jazz"}
    assert found(root, default_consent=Consent()) == any_purpose | {"a.wav": "withheld"}
