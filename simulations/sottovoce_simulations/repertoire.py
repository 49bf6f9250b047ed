"""Real music without downloads: scores of five repertoires, rendered so that only the notes tell them apart.

Every piece is played on one General MIDI instrument drawn at random for all its parts, at a tempo from one range for
all classes, transposed at random and brought to a random level. `sottovoce_simulations.scores` says where the scores
come from and what may be done with them.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from sottovoce.errors import ConfigurationError, UserError
from sottovoce_simulations import scores
from sottovoce_simulations.made import Progress, already_made, check_space, in_parallel, making
from sottovoce_simulations.soundfont import Stroke, play
from sottovoce_simulations.synthesis.plan import slug
from sottovoce_simulations.synthesis.track import seed_of

STYLES = tuple(scores.FOLDERS)
PIECES = 250
SECONDS = 12.0
SEED = 1
RATE = 22_050
VERSION = 2  # raised whenever the same request would sound different
_NEEDED = ("music21", "pretty_midi", "tinysoundfont")
_TEMPO = (96.0, 132.0)  # quarter notes a minute
_TRANSPOSED = (-3, 4)  # semitones, the upper end excluded
_LEVEL = (-30.0, -14.0)  # dBFS RMS
_PROGRAMS = tuple(
    program for program in range(88) if program not in (47, 55)
)  # no pads, effects, timpani, orchestra hit
_PEAK = 0.98
_ATTEMPTS = 5


@dataclass(frozen=True)
class _Job:
    """One file: a piece, and others to take in its place where it cannot be used."""

    style: str
    pieces: tuple[scores.Piece, ...]
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
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Render `out/CLASS/piece.flac`, with a `catalogue.csv` whose albums are the works that must not be torn apart.

    A class that has fewer pieces gives several excerpts of some. What an equal call has made is kept.

    Args:
        out: the folder; it appears whole or not at all.
        pieces: excerpts of each class.
        seconds: length of each.
        seed: the same seed gives the same samples.
        styles: which classes, from `STYLES`.
        workers: processes; None for one a core.
        progress: is told how many excerpts are done, of how many.

    Returns:
        `out`.

    Raises:
        ConfigurationError: a number is out of range, a class is unknown, or `out` holds something else.
        UserError: the extra `repertoire` is not installed, there is no space, or `out` cannot be written.
    """
    if not 1 <= pieces <= 10_000 or not 1 <= seconds <= 600:
        raise ConfigurationError(f"Expected pieces={pieces} from 1 to 10000 and seconds={seconds} from 1 to 600.")
    if unknown := sorted(set(styles) - set(STYLES)):
        raise ConfigurationError(f"There is no repertoire '{unknown[0]}'.", hint=f"Choose from {', '.join(STYLES)}.")
    request = {
        "repertoire": VERSION,
        "pieces": pieces,
        "seconds": float(seconds),
        "seed": seed,
        "styles": sorted(styles),
    }
    if already_made(out, request):
        return out
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(f"Rendering scores needs {', '.join(missing)}.", hint="Run 'make repertoire' to install it.")
    check_space(out, len(styles) * pieces * seconds * RATE * 2)
    with making(out, request) as aside:
        jobs = [job for style in sorted(styles) for job in _jobs(style, pieces, seconds, seed, aside)]
        in_parallel(_render, jobs, workers=workers, progress=progress)
        _collect_sheets(aside)
    return out


def _jobs(style: str, number: int, seconds: float, seed: int, folder: Path) -> list[_Job]:
    found = scores.pieces(style)
    order = np.random.default_rng(seed_of(seed, style)).permutation(len(found))
    queue = [found[index] for index in order]
    (folder / style).mkdir()
    spare = queue[number:] or queue
    return [
        _Job(
            style,
            # A piece that cannot be used gives way to some that nobody else begins with.
            (queue[k % len(queue)], *(spare[(k + j * number) % len(spare)] for j in range(_ATTEMPTS))),
            seed_of(seed, style, k),
            seconds,
            folder,
            k,
        )
        for k in range(number)
    ]


def _render(job: _Job) -> None:
    import soundfile

    piece, found = next(((piece, found) for piece in job.pieces if (found := scores.notes(piece))), (None, []))
    if piece is None:
        return  # nothing near it in the corpus can be read; the class has one excerpt less
    rng = np.random.default_rng(job.seed)
    samples = play(
        _excerpt(found, job.seconds, rng), program=int(rng.choice(_PROGRAMS)), seconds=job.seconds, rate=RATE
    )
    rms = float(np.sqrt(np.mean(samples**2)))
    gain = 10 ** (rng.uniform(*_LEVEL) / 20) / max(rms, 1e-6)
    samples *= np.float32(min(gain, _PEAK / max(float(np.abs(samples).max()), 1e-6)))
    title = Path(piece.path).stem + (f"-{piece.number}" if piece.number is not None else "")
    path = job.folder / job.style / f"{slug(title)}-{job.number + 1:03d}.flac"
    soundfile.write(path, samples, RATE)
    with path.with_suffix(".row").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerow((f"{job.style}/{path.name}", job.style, title, piece.work))


def _excerpt(found: Sequence[scores.Sounding], seconds: float, rng: np.random.Generator) -> list[Stroke]:
    """Some seconds from a random place, in a random key and tempo; a shorter piece is repeated, as dances are."""
    beat = 60 / rng.uniform(*_TEMPO)
    shift = int(rng.integers(*_TRANSPOSED))
    length = max(note.start + note.length for note in found) * beat
    begin = float(rng.uniform(0, max(0.0, length - seconds))) if length > seconds else 0.0
    times = int(np.ceil(seconds / length)) if length < seconds else 1
    strokes = []
    for note in found:
        for time in range(times):
            start = note.start * beat - begin + time * length
            if -note.length * beat < start < seconds:
                late = max(0.0, start + float(rng.normal(0, 0.008)))
                held = max(0.05, start + note.length * beat - late - 0.02)
                velocity = int(np.clip(rng.normal(85, 8), 40, 120))
                strokes.append(Stroke(late, held, int(np.clip(note.key + shift, 0, 127)), velocity, note.part % 16))
    return strokes


def _collect_sheets(folder: Path) -> None:
    """Each job left its row beside its file; together they are the catalogue's sheet."""
    rows = sorted(folder.glob("*/*.row"))
    text = "path,style,title,album\n" + "".join(row.read_text("utf-8").replace("\r\n", "\n") for row in rows)
    (folder / "catalogue.csv").write_text(text, encoding="utf-8")
    for row in rows:
        row.unlink()
