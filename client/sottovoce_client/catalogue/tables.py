"""Prints a catalogue: tables for people, one JSON object for programs."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sottovoce.commands.output import shown
from sottovoce_client.catalogue.tracks import Catalogue, Rejected, Remark, Track

FIRST = 5  # files listed per reason, unless all are requested


def show(catalogue: Catalogue, console: Console, *, seconds: float, show_all: bool) -> None:
    """Print a catalogue's tracks, its unusable files with the reasons, and remarks."""
    if catalogue.tracks:
        console.print(_styles(catalogue))
    limit = None if show_all else FIRST
    if catalogue.unusable:
        console.print(_unusable(catalogue, limit))
    if catalogue.remarks:
        console.print(_remarks(catalogue.remarks, limit))
    if catalogue.withheld:
        console.print(f"{_files(len(catalogue.withheld))} not opened, for lack of consent.")
    if catalogue.ignored:
        console.print(f"{_files(catalogue.ignored, 'other ')} ignored.")
    console.print(f"{_files(catalogue.opened)} read in {seconds:.1f} s; the rest was known from an earlier scan.")


def as_json(catalogue: Catalogue, *, seconds: float) -> dict[str, Any]:
    """The catalogue as plain JSON values, with every file."""
    return {
        "root": str(catalogue.root),
        **_sums(catalogue.tracks),
        "styles": {style: _sums(tracks) for style, tracks in _by_style(catalogue).items()},
        "reasons": {str(reason): count for reason, count in catalogue.reasons.items()},
        "unusable": [{"path": file.path, "reason": file.reason, "detail": file.detail} for file in catalogue.unusable],
        "remarks": [{"path": remark.path, "detail": remark.detail} for remark in catalogue.remarks],
        "withheld": list(catalogue.withheld),
        "ignored": catalogue.ignored,
        "opened": catalogue.opened,
        "seconds": round(seconds, 3),
    }


def _by_style(catalogue: Catalogue) -> dict[str, list[Track]]:
    styles: dict[str, list[Track]] = defaultdict(list)
    for track in catalogue.tracks:
        styles[track.style].append(track)
    return dict(sorted(styles.items()))


def _sums(tracks: Sequence[Track]) -> dict[str, Any]:
    return {
        "tracks": len(tracks),
        "hours": round(sum(track.seconds for track in tracks) / 3600, 4),
        "artists": len({track.artist_key for track in tracks} - {None}),
    }


def _styles(catalogue: Catalogue) -> Table:
    table = Table("style", title="Tracks", title_justify="left", show_footer=True)
    total = _sums(catalogue.tracks)
    table.columns[0].footer = "all"
    for name in ("tracks", "hours", "artists"):
        table.add_column(name, justify="right", footer=_figure(total[name]))
    for style, tracks in _by_style(catalogue).items():
        table.add_row(Text(style), *(_figure(value) for value in _sums(tracks).values()))
    return table


def _figure(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def _unusable(catalogue: Catalogue, limit: int | None) -> Table:
    table = Table("reason", title="RejectReason", title_justify="left")
    table.add_column("files", justify="right")
    table.add_column("which, and why", overflow="fold")
    for reason, count in catalogue.reasons.items():
        files = [file for file in catalogue.unusable if file.reason is reason]
        table.add_row(Text(reason), f"{count:,}", _lines(files, limit))
    return table


def _remarks(remarks: Sequence[Remark], limit: int | None) -> Table:
    table = Table(title="Worth a look", title_justify="left", show_header=False)
    table.add_column(overflow="fold")
    table.add_row(_lines(remarks, limit))
    return table


def _lines(files: Sequence[Rejected | Remark], limit: int | None) -> Text:
    lines = [shown(f"{file.path}: {file.detail}") for file in islice(files, limit)]
    if len(lines) < len(files):
        lines.append(f"… and {len(files) - len(lines):,} more (--all names them)")
    return Text("\n".join(lines))


def _files(count: int, kind: str = "") -> str:
    return f"{count:,} {kind}file{'' if count == 1 else 's'}"
