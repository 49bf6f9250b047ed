"""Real scores: which pieces music21 brings along, and their notes at their own tempo.

What may be done with them, as music21 10.5 says in `corpus/license.txt` and in the files themselves. The works are out
of copyright; what follows is about the encodings, which music21 distributes by permission of those who made them:

- `palestrina`: "Copyright 2000, John Miller. Rights to all derivative electronic formats reserved", with a licensing
  agreement of the Humdrum database. Use them to measure, and ship nothing that is made from them.
- `bach` (chorales), `trecento`: no terms in the files beyond music21's own notice.
- `ryans-mammoth`, `oneills` (his airs): ABC transcriptions by volunteers, named in each file's `Z:` field; no terms.
- The Essen folk songs are left out: their owners permit non-commercial use only.

So the rendered audio stays on the machine that renders it: no file of it is part of Sottovoce, and no model that is
has learned from the classes in `RESERVED`.
"""

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

FOLDERS = MappingProxyType(
    {
        "bach": "bach",
        "oneills": "oneills1850",
        "palestrina": "palestrina",
        "ryans-mammoth": "ryansMammoth",
        "trecento": "trecento",
    }
)
RESERVED = frozenset({"palestrina"})
"""Classes whose encodings come with reserved rights."""
_SUFFIXES = frozenset({".abc", ".krn", ".mxl", ".xml"})
_NUMBER = re.compile(r"^X:\s*(\d+)", re.MULTILINE)
_LEAST_NOTES = 24
_TEMPO = 120.0  # quarter notes a minute, for a mark that gives none
# O'Neill's first 625 numbers are airs. His dances (jigs, reels, hornpipes) are of the kind that fills Ryan's book too:
# from which of the two a jig was played can hardly be heard, so only the airs make a class of their own.
_AIRS = 625


@dataclass(frozen=True)
class Piece:
    """Where a piece stands.

    Args:
        path: file below music21's corpus, with `/`.
        number: of the tune in a file of many; None where the file is the piece.
        work: what the piece is a part of (a mass, a cantata); parts of one work belong on one side of a split.
    """

    path: str
    number: int | None
    work: str


@dataclass(frozen=True)
class Sounding:
    """A note of a score: start and length in seconds, MIDI key, number of the part."""

    start: float
    length: float
    key: int
    part: int


def corpus() -> Path:
    """The folder of music21's corpus.

    Raises:
        ImportError: music21 is not installed.
    """
    import music21

    return Path(music21.__file__).parent / "corpus"


def pieces(style: str) -> list[Piece]:
    """The pieces of a class of `FOLDERS`, in the order of their names."""
    root = corpus()
    found: list[Piece] = []
    for path in sorted((root / FOLDERS[style]).iterdir()):
        if path.suffix not in _SUFFIXES:
            continue
        name = path.relative_to(root).as_posix()
        if style == "oneills":
            numbers = _NUMBER.findall(path.read_text("utf-8", "replace"))
            airs = [int(number) for number in dict.fromkeys(numbers) if int(number) <= _AIRS]
            found += [Piece(name, number, f"{style} {number}") for number in airs]
        else:
            found.append(Piece(name, None, _work(style, path.stem)))
    return found


def _work(style: str, stem: str) -> str:
    if style == "palestrina" and (mass := re.search(r"_(\d+)(_|$)", stem)):  # Credo_63_a: of the 63rd mass
        return f"{style} mass {mass[1]}"
    if style == "bach":  # bwv248.12-2: of the Christmas oratorio
        return stem.split(".")[0]
    return stem


def notes(piece: Piece) -> list[Sounding]:
    """The notes of a piece by their start, ties joined; none where it is too short or cannot be read.

    The tempo is the score's own, or 120 quarter notes a minute where it names none, as music21 has it.
    """
    from music21 import converter
    from music21.exceptions21 import Music21Exception

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about spellings of old encodings, which nobody here can mend
            score: Any = converter.parseFile(
                corpus() / piece.path, number=piece.number, forceSource=True, storePickle=False
            )
            tempi = [(float(at), mark.getQuarterBPM()) for at, _, mark in score.metronomeMarkBoundaries()]
            found = sorted(_timed(_sounding(score), tempi), key=lambda note: (note.start, note.part, note.key))
    except (Music21Exception, ValueError, KeyError, IndexError, AttributeError, TypeError):
        return []  # the corpus holds a few files that its own parser cannot read
    return found if len(found) >= _LEAST_NOTES else []


def _timed(found: Iterable[Sounding], tempi: Sequence[tuple[float, float | None]]) -> Iterator[Sounding]:
    """Notes in quarters to notes in seconds, by where (in quarters) each tempo (quarters a minute) begins."""
    quarters = np.array([at for at, _ in tempi])
    pace = np.array([60 / (tempo or _TEMPO) for _, tempo in tempi])
    seconds = np.concatenate([[0.0], np.cumsum(np.diff(quarters) * pace[:-1])])

    def at(quarter: float) -> float:
        last = max(0, int(np.searchsorted(quarters, quarter, side="right")) - 1)
        return float(seconds[last] + (quarter - quarters[last]) * pace[last])

    for note in found:
        start = at(note.start)
        yield Sounding(start, at(note.start + note.length) - start, note.key, note.part)


def _sounding(score: Any) -> Iterator[Sounding]:
    """Notes in quarters."""
    for number, part in enumerate(score.parts):
        tied: dict[int, tuple[float, float]] = {}
        for element in part.flatten().notes:
            start, length = float(element.offset), float(element.quarterLength)
            if length <= 0:  # a grace note takes its time from its neighbours
                continue
            for note in element.notes if element.isChord else (element,):
                key, kind = round(note.pitch.ps), note.tie.type if note.tie else None
                if kind in ("stop", "continue") and key in tied:
                    first, so_far = tied.pop(key)
                    start_here, length_here = first, so_far + length
                else:
                    start_here, length_here = start, length
                if kind in ("start", "continue"):
                    tied[key] = (start_here, length_here)
                else:
                    yield Sounding(start_here, length_here, key, number)
        yield from (Sounding(start, length, key, number) for key, (start, length) in tied.items())
