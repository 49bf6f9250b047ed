"""The catalogue sheet, `catalogue.csv`: lists the tracks' files and what each may be used for.

If it exists, it defines the catalogue: files that it does not list are left out, and folder names are ignored. A row
that cannot be parsed makes its file unusable, since a misread consent must not fall back to the default.
"""

import csv
import difflib
import io
import posixpath
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sottovoce.errors import CatalogueError, ConfigurationError
from sottovoce_client.catalogue.consent import Consent
from sottovoce_client.catalogue.safe_text import plain

SHEET = "catalogue.csv"
REQUIRED = ("path", "style")
COLUMNS = (*REQUIRED, "title", "artist", "album", "isrc", "consent")
DELIMITERS = ",;\t"


@dataclass(frozen=True)
class Row:
    """One row of the sheet; cells without content are empty.

    Args:
        line: line on which the row begins, from 1.
        path: relative to the catalogue, normalised, with `/`.
        consent: None if the label's default holds.
        problem: why the row cannot be used, or None.
    """

    line: int
    path: str
    style: str = ""
    title: str = ""
    artist: str = ""
    album: str = ""
    isrc: str = ""
    consent: Consent | None = None
    problem: str | None = None


def key(path: str) -> str:
    """A key that is equal for all spellings of a path: macOS stores `é` as two characters, spreadsheets write one."""
    return unicodedata.normalize("NFC", path)


def read_sheet(root: Path) -> dict[str, Row] | None:
    """The rows of a catalogue's sheet by `key(path)`, or None if there is no sheet.

    Raises:
        CatalogueError: the folder cannot be read, or its sheet is not valid: not a readable file, not UTF-8, not CSV,
            or with a missing or misspelt column.
    """
    sheet = _find(root)
    if sheet is None:
        return None
    text = _text(sheet)
    header, records = _records(text)
    rows: dict[str, Row] = {}
    for line, cells in records:
        row = _row(line, header, cells)
        name = key(row.path) or f"\0{line}"  # rows without a path are keyed by their line
        rows[name] = _named_twice(rows[name], row) if name in rows else row
    return rows


def _find(root: Path) -> Path | None:
    try:
        names = [name for name in root.iterdir() if name.name.casefold() == SHEET]
    except OSError as error:
        raise CatalogueError(f"The folder cannot be read: {error.strerror}.") from None
    if len(names) > 1:
        raise CatalogueError(
            f"The catalogue has {len(names)} files named {SHEET}, in different case.", hint="Keep one."
        )
    return names[0] if names else None


def _text(sheet: Path) -> str:
    try:
        # Opening a pipe would block for ever.
        if not stat.S_ISREG(sheet.stat().st_mode):
            raise CatalogueError(f"{SHEET} is not a file.")
        data = sheet.read_bytes()
    except OSError as error:
        # Without the sheet, every track would get the default consent.
        raise CatalogueError(f"{SHEET} cannot be read: {error.strerror}.") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CatalogueError(f"{SHEET}, line {line}: this is not UTF-8.", hint="Save it as 'CSV UTF-8'.") from None


def _records(text: str) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    first = text.split("\n", 1)[0]
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)

    def numbered() -> Iterator[tuple[int, list[str]]]:
        line = 1
        try:
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield line, [cell.strip() for cell in cells]
                line = reader.line_num + 1
        except csv.Error as error:
            raise CatalogueError(f"{SHEET}, line {line}: this is not CSV ({error}).") from None

    records = numbered()
    line, names = next(records, (1, []))
    return _header(line, names), records


def _header(line: int, cells: list[str]) -> list[str]:
    names = [cell.casefold() for cell in cells]
    where = f"{SHEET}, line {line}"
    for name in names:
        if name in COLUMNS and names.count(name) > 1:
            raise CatalogueError(f"{where}: the header has the column '{name}' {names.count(name)} times.")
        close = difflib.get_close_matches(name, set(COLUMNS) - set(names), n=1, cutoff=0.75)
        if name not in COLUMNS and close:  # ignoring a column 'consnet' would give every track the default consent
            raise CatalogueError(f"{where}: the header has a column '{name}'.", hint=f"Did you mean '{close[0]}'?")
    for name in REQUIRED:
        if name not in names:
            raise CatalogueError(
                f"{where}: the header has no column '{name}'.",
                hint=f"Begin with '{','.join(REQUIRED)}'; {', '.join(COLUMNS[2:])} may follow.",
            )
    return names


def _row(line: int, header: list[str], cells: list[str]) -> Row:
    found = dict.fromkeys(COLUMNS, "") | dict(zip(header, cells, strict=False))
    path, consent = found["path"], found["consent"]
    row = Row(
        line,
        posixpath.normpath(path) if path else "",
        style=plain(found["style"]),
        title=plain(found["title"]),
        artist=plain(found["artist"]),
        album=plain(found["album"]),
        isrc=plain(found["isrc"]),
    )
    if len(cells) > len(header):
        return replace(row, problem=f"it has {len(cells)} cells where the header has {len(header)}")
    if not path or "\0" in path:
        return replace(row, problem="it has no path")
    try:
        return replace(row, consent=Consent.parse(consent) if consent else None)
    except ConfigurationError as error:
        return replace(row, problem=f"{error.message[0].lower()}{error.message[1:].rstrip('.')}")


def _named_twice(first: Row, second: Row) -> Row:
    """The first row if both are equal; otherwise a row with a problem, since it is unclear which one holds."""
    if first.problem or second == replace(first, line=second.line):
        return first
    return replace(first, problem=f"line {second.line} contradicts it about the same file")
