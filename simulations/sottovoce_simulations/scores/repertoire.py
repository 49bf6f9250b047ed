"""Real music without downloads: scores of five repertoires, rendered so that they differ only in their notes.

Every excerpt is rendered in the score's own key and tempo, on one randomly drawn General MIDI instrument for all parts,
at a random level. `scores.music21_corpus` documents the scores' sources and terms.
"""

import csv
import json
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from sottovoce.audio.decoding import AUDIO
from sottovoce.errors import ConfigurationError, UserError
from sottovoce_simulations.engine.owned_folders import Progress, already_made, check_space, in_parallel, making
from sottovoce_simulations.scores import music21_corpus
from sottovoce_simulations.scores.soundfont import Stroke, play
from sottovoce_simulations.synthesis.catalogue_plan import slug
from sottovoce_simulations.synthesis.track import seed_of

STYLES = tuple(music21_corpus.FOLDERS)
PIECES = 250
SECONDS = 12.0
SEED = 1
RATE = 22_050
LEARNED = tuple(style for style in STYLES if style not in music21_corpus.RESERVED)
"""Classes that public models may be trained on."""
HELD_OUT = 24
"""Number of excerpts in the repair benchmark."""
SHEET = "catalogue.csv"
VERSION = 3  # raised whenever the same request would sound different
_NEEDED = ("music21", "pretty_midi", "tinysoundfont")
_SPARE = 1.2  # factor of scores read over scores wanted: some are unusable
_LEVEL = (-30.0, -14.0)  # dBFS RMS
_PROGRAMS = tuple(
    program for program in range(88) if program not in (47, 55)
)  # no pads, effects, timpani, orchestra hit
_PEAK = 0.98


def audio_below(folder: Path) -> list[Path]:
    """Audio files, sorted, except those in hidden folders, where simulations keep copies."""
    found = (path.relative_to(folder) for path in folder.rglob("*.*") if path.suffix in AUDIO)
    return [folder / path for path in sorted(found) if not any(part.startswith(".") for part in path.parts)]


def of_public(work: str) -> bool:
    """Whether public models may be trained on a work: half of all works, so that benchmarks can use the others."""
    return zlib.crc32(work.encode()) % 2 == 0


def learnable(folder: Path) -> list[Path]:
    """Files below a folder that public models may be trained on: of rendered scores, the public works; else all."""
    works = _works(folder)
    return [
        path
        for path in audio_below(folder)
        if path not in works or (works[path][0] in LEARNED and of_public(works[path][1]))
    ]


def held_out(folder: Path) -> list[Path]:
    """Rendered scores of the repair benchmark, from works that no public model was trained on."""
    works = _works(folder)
    paths = [path for path in audio_below(folder) if not of_public(works[path][1])]
    return [paths[number] for number in np.random.default_rng(0).permutation(len(paths))[:HELD_OUT]]


def _works(folder: Path) -> dict[Path, tuple[str, str]]:
    """Class and work of rendered scores; empty if `repertoire` did not make the folder."""
    if not (folder / SHEET).is_file():
        return {}
    with (folder / SHEET).open(encoding="utf-8", newline="") as file:
        return {folder / row["path"]: (row["style"], row["album"]) for row in csv.DictReader(file)}


@dataclass(frozen=True)
class _Score:
    """A piece to be parsed, and the file for its notes."""

    piece: music21_corpus.Piece
    notes: Path


@dataclass(frozen=True)
class _Job:
    """One file to render: an excerpt of a score's notes, and its start in seconds."""

    style: str
    score: _Score
    begin: float
    seed: int
    seconds: float
    folder: Path
    number: int


def repertoire(
    out: Path,
    pieces: int = PIECES,
    seconds: float = SECONDS,
    seed: int = SEED,
    *,
    styles: Sequence[str] = STYLES,
    public: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Render `out/CLASS/piece.flac`, with a `catalogue.csv` whose albums are the works; splits keep these together.

    If a class has too few pieces, several non-overlapping excerpts of some are rendered; if that is not enough, the
    class stays smaller. The result of an equal call is reused.

    Args:
        out: the folder; it appears complete or not at all.
        pieces: number of excerpts per class.
        seconds: length of each.
        seed: equal seeds give equal samples.
        styles: classes, from `STYLES`.
        public: only works that public models may be trained on.
        workers: number of processes; None for one per core.
        progress: called with the number of scores parsed, then of excerpts rendered, and their total.

    Returns:
        `out`.

    Raises:
        ConfigurationError: a number is out of range, a class is unknown, or `out` contains something else.
        UserError: the extra `repertoire` is not installed, the disk is full, or `out` cannot be written.
    """
    if not 1 <= pieces <= 10_000 or not 1 <= seconds <= 600:
        raise ConfigurationError(f"Expected pieces={pieces} from 1 to 10000 and seconds={seconds} from 1 to 600.")
    if unknown := sorted(set(styles) - set(STYLES)):
        raise ConfigurationError(f"Unknown repertoire '{unknown[0]}'.", hint=f"Choose from {', '.join(STYLES)}.")
    request = {
        "repertoire": VERSION,
        "pieces": pieces,
        "seconds": float(seconds),
        "seed": seed,
        "styles": sorted(styles),
        **({"public": True} if public else {}),
    }
    if already_made(out, request):
        return out
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(f"Rendering scores needs {', '.join(missing)}.", hint="Run 'make repertoire' to install it.")
    check_space(out, len(styles) * pieces * seconds * RATE * 2)
    with making(out, request) as aside:
        read = aside / ".scores"
        read.mkdir()
        chosen = {style: _chosen(style, pieces, seed, read, public) for style in sorted(styles)}
        in_parallel(_read, [score for some in chosen.values() for score in some], workers=workers, progress=progress)
        jobs = [job for style, some in chosen.items() for job in _jobs(style, some, pieces, seconds, seed, aside)]
        in_parallel(_render, jobs, workers=workers, progress=progress)
        shutil.rmtree(read)
        _collect_sheets(aside)
    return out


def _chosen(style: str, number: int, seed: int, folder: Path, public: bool) -> list[_Score]:
    """Scores to parse for this number of excerpts, in random order."""
    found = [piece for piece in music21_corpus.pieces(style) if not public or of_public(piece.work)]
    order = np.random.default_rng(seed_of(seed, style)).permutation(len(found))
    return [_Score(found[index], folder / f"{style}-{index}.json") for index in order[: round(_SPARE * number) + 4]]


def _read(score: _Score) -> None:
    score.notes.write_text(json.dumps([astuple(note) for note in music21_corpus.notes(score.piece)]), encoding="utf-8")


def _notes(score: _Score) -> list[music21_corpus.Sounding]:
    return [music21_corpus.Sounding(*note) for note in json.loads(score.notes.read_text(encoding="utf-8"))]


def _jobs(style: str, found: Sequence[_Score], number: int, seconds: float, seed: int, folder: Path) -> list[_Job]:
    """One excerpt per usable score; if these are too few, further ones of scores that are long enough."""
    (folder / style).mkdir()
    places = [_places(_end(_notes(score)), seconds, seed_of(seed, style, score.notes.stem)) for score in found]
    most = max(map(len, places), default=0)
    excerpts = [
        (score, begins[turn])
        for turn in range(most)
        for score, begins in zip(found, places, strict=True)
        if turn < len(begins)
    ]
    return [
        _Job(style, score, begin, seed_of(seed, style, k), seconds, folder, k)
        for k, (score, begin) in enumerate(excerpts[:number])
    ]


def _end(found: Sequence[music21_corpus.Sounding]) -> float:
    return max((note.start + note.length for note in found), default=0.0)


def _places(length: float, seconds: float, seed: int) -> list[float]:
    """Start times of non-overlapping excerpts of a piece, seconds, in random order; one for a short piece."""
    if length <= 0:
        return []
    rng = np.random.default_rng(seed)
    places = max(1, int(length // seconds))
    first = float(rng.uniform(0, max(0.0, length - places * seconds)))
    return [first + seconds * int(place) for place in rng.permutation(places)]


def _render(job: _Job) -> None:
    import soundfile

    rng = np.random.default_rng(job.seed)
    strokes = _excerpt(_notes(job.score), job.begin, job.seconds, rng)
    samples = play(strokes, program=int(rng.choice(_PROGRAMS)), seconds=job.seconds, rate=RATE)
    rms = float(np.sqrt(np.mean(samples**2)))
    gain = 10 ** (rng.uniform(*_LEVEL) / 20) / max(rms, 1e-6)
    samples *= np.float32(min(gain, _PEAK / max(float(np.abs(samples).max()), 1e-6)))
    piece = job.score.piece
    title = Path(piece.path).stem + (f"-{piece.number}" if piece.number is not None else "")
    path = job.folder / job.style / f"{slug(title)}-{job.number + 1:03d}.flac"
    soundfile.write(path, samples, RATE)
    with path.with_suffix(".row").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerow((f"{job.style}/{path.name}", job.style, title, piece.work))


def _excerpt(
    found: Sequence[music21_corpus.Sounding], begin: float, seconds: float, rng: np.random.Generator
) -> list[Stroke]:
    """Some seconds of a piece with human timing; a shorter piece is repeated, as dances are."""
    length = _end(found)
    times = int(np.ceil(seconds / length)) if length < seconds else 1
    strokes = []
    for note in found:
        for time in range(times):
            start = note.start - begin + time * length
            if -note.length < start < seconds:
                late = max(0.0, start + float(rng.normal(0, 0.008)))
                held = max(0.05, start + note.length - late - 0.02)
                velocity = int(np.clip(rng.normal(85, 8), 40, 120))
                strokes.append(Stroke(late, held, min(max(note.key, 0), 127), velocity, note.part % 16))
    return strokes


def _collect_sheets(folder: Path) -> None:
    """Combine the rows that the jobs wrote beside their files to the catalogue's sheet."""
    rows = sorted(folder.glob("*/*.row"))
    text = "path,style,title,album\n" + "".join(row.read_text("utf-8").replace("\r\n", "\n") for row in rows)
    (folder / SHEET).write_text(text, encoding="utf-8")
    for row in rows:
        row.unlink()
