"""Real scores: pieces that are part of music21, and their notes with the scores' tempi.

Terms of use, as stated by music21 10.5 in `corpus/license.txt` and in the files themselves. The works are out of
copyright; the following is about the encodings, which music21 distributes by permission of their authors:

- `palestrina`: "Copyright 2000, John Miller. Rights to all derivative electronic formats reserved", with a licensing
  agreement of the Humdrum database. Use them for measurements only, and ship nothing derived from them.
- `bach` (chorales), `trecento`: no terms in the files beyond music21's own notice.
- `ryans-mammoth`, `oneills` (his airs): ABC transcriptions by volunteers, named in each file's `Z:` field; no terms.
- The Essen folk songs are left out: their owners permit non-commercial use only.

So rendered audio stays on the machine that renders it: it is not part of Sottovoce, and no model that is was trained on
the classes in `RESERVED`.
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
"""Classes whose encodings have reserved rights."""
_SUFFIXES = frozenset({".abc", ".krn", ".mxl", ".xml"})
_NUMBER = re.compile(r"^X:\s*(\d+)", re.MULTILINE)
_LEAST_NOTES = 24
_TEMPO = 120.0  # quarter notes per minute, for a tempo mark without a number
# O'Neill's first 625 numbers are airs. His dances (jigs, reels, hornpipes) are of the same kind as those in Ryan's book
# and hardly distinguishable from them, so only the airs form a class.
_AIRS = 625


@dataclass(frozen=True)
class Piece:
    """Location of a piece.

    Args:
        path: file below music21's corpus, with `/`.
        number: number of the tune in a file with several; None if the file is the piece.
        work: the work that the piece is part of (a mass, a cantata); a split must not separate parts of one work.
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
    """Folder of music21's corpus.

    Raises:
        ImportError: music21 is not installed.
    """
    import music21

    return Path(music21.__file__).parent / "corpus"


def pieces(style: str) -> list[Piece]:
    """The pieces of a class of `FOLDERS`, sorted by name."""
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
    """The notes of a piece by start, with ties joined; empty if it is too short or cannot be parsed.

    The tempo is the score's own, or 120 quarter notes per minute if it has none, as in music21.
    """
    from music21 import converter
    from music21.exceptions21 import Music21Exception

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about spellings in old encodings
            score: Any = converter.parseFile(
                corpus() / piece.path, number=piece.number, forceSource=True, storePickle=False
            )
            tempi = [(float(at), mark.getQuarterBPM()) for at, _, mark in score.metronomeMarkBoundaries()]
            found = sorted(_timed(_sounding(score), tempi), key=lambda note: (note.start, note.part, note.key))
    except (Music21Exception, ValueError, KeyError, IndexError, AttributeError, TypeError):
        return []  # music21 cannot parse a few files of its own corpus
    return found if len(found) >= _LEAST_NOTES else []


def _timed(found: Iterable[Sounding], tempi: Sequence[tuple[float, float | None]]) -> Iterator[Sounding]:
    """Convert notes from quarters to seconds; `tempi` lists (start in quarters, quarters per minute)."""
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
    """Notes with times in quarters."""
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
