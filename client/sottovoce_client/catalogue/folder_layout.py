"""Finds the candidate files of a catalogue: `STYLE/…/track.ext`, or those that its sheet lists."""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from sottovoce.audio.reject_reason import RejectReason
from sottovoce_client.catalogue.consent import Consent, Purpose
from sottovoce_client.catalogue.safe_text import plain
from sottovoce_client.catalogue.sheet import SHEET, Row, key, read_sheet
from sottovoce_client.catalogue.tracks import Rejected
from sottovoce_client.catalogue.walk import Entry, Found, Ignored, leads_out, look, walk


@dataclass(frozen=True)
class Candidate:
    """A file that may be opened, since its consent allows one of the scan's purposes.

    Args:
        file: the file.
        style: from the sheet or the folder; empty if only the embedded genre can tell.
        row: its row in the sheet; None in a catalogue without one.
        consent: the sheet's, or the label's default.
    """

    file: Found
    style: str
    row: Row | None
    consent: Consent


@dataclass(frozen=True)
class Withheld:
    """A file that must not be opened, for lack of consent."""

    path: str


def candidates(
    root: Path, *, purposes: frozenset[Purpose], today: date, default_consent: Consent
) -> Iterator[Candidate | Withheld | Rejected | Ignored]:
    """Classify everything in a catalogue's folder without opening any audio.

    Raises:
        CatalogueError: the sheet is not valid.
    """
    rows = read_sheet(root)
    for entry, style, row in _in_folders(root) if rows is None else _on_sheet(root, rows):
        if not isinstance(entry, Found):
            yield entry
            continue
        if row is not None and row.problem:
            yield Rejected(entry.path, RejectReason.BAD_ROW, f"{SHEET}, line {row.line}: {row.problem}.")
            continue
        consent = default_consent if row is None or row.consent is None else row.consent
        if any(consent.allows(purpose, today) for purpose in purposes):
            yield Candidate(entry, style, row, consent)
        else:
            yield Withheld(entry.path)


def _in_folders(root: Path) -> Iterator[tuple[Entry, str, None]]:
    for entry in walk(root):
        folder, below, _ = entry.path.partition("/")
        yield entry, plain(folder) if below else "", None


def _on_sheet(root: Path, rows: dict[str, Row]) -> Iterator[tuple[Entry, str, Row | None]]:
    left = dict(rows)
    for entry in walk(root):
        row = left.pop(key(entry.path), None)
        if row is not None:
            yield _listed(root, entry.path, row), row.style, row
        elif isinstance(entry, Found):
            yield Rejected(entry.path, RejectReason.NO_STYLE, f"{SHEET} does not list it."), "", None
        elif key(entry.path) != SHEET:
            yield entry, "", None
    for row in left.values():
        yield _listed(root, row.path, row), row.style, row


def _listed(root: Path, path: str, row: Row) -> Entry:
    if not row.path:
        return Rejected(SHEET, RejectReason.BAD_ROW, f"{SHEET}, line {row.line}: {row.problem}.")
    if posixpath.isabs(path) or path.split("/", 1)[0] == ".." or leads_out(root, path):
        return Rejected(row.path, RejectReason.OUTSIDE, f"{SHEET}, line {row.line}: it leads out of the catalogue.")
    entry = look(root, path, listed=True)
    if isinstance(entry, Rejected):
        return Rejected(
            entry.path, entry.reason, f"{SHEET}, line {row.line}: {entry.detail[0].lower()}{entry.detail[1:]}"
        )
    return entry
