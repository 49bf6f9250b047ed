"""Catalogues of synthetic music on disk: public audio without downloads."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from sottovoce_simulations.engine.owned_folders import Progress, already_made, check_space, in_parallel, making
from sottovoce_simulations.synthesis.catalogue_plan import Request, plan
from sottovoce_simulations.synthesis.styles import STYLES
from sottovoce_simulations.synthesis.track import Track, write

SHEET = "catalogue.csv"
SECONDS = (8.0, 12.0)
SEED = 1
SKEW = 1.0
ECCENTRIC = 0.12
_BYTES_A_SECOND = 80_000  # average over sample rates, channels and formats, rounded up


@dataclass(frozen=True)
class Made:
    """Result of `synthesise`.

    Args:
        root: the folder, with one folder per label.
        labels: their names.
        tracks: number of tracks over all labels.
        styles: number of tracks of each style.
        reused: whether an earlier call made it.
    """

    root: Path
    labels: tuple[str, ...]
    tracks: int
    styles: dict[str, int]
    reused: bool


def synthesise(
    out: Path,
    *,
    labels: int,
    tracks: int,
    seconds: tuple[float, float] = SECONDS,
    seed: int = SEED,
    styles: tuple[str, ...] | None = None,
    skew: float = SKEW,
    eccentric: float = ECCENTRIC,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Made:
    """Write catalogues `out/label-01/STYLE/artist/track.flac`, each with its `catalogue.csv`.

    The result of an equal request is reused; that of another request to this function is replaced.

    Args:
        out: the folder; it appears complete or not at all.
        labels: number of catalogues.
        tracks: number of tracks per catalogue.
        seconds: shortest and longest track.
        seed: equal seeds give equal samples, for any number of workers.
        styles: names from `STYLES`; None for all.
        skew: Dirichlet concentration of styles at a label; smaller is more uneven.
        eccentric: mean probability of an unusual arrangement, which makes styles overlap.
        workers: number of processes; None for one per core.
        progress: called with the number of finished tracks, and their total.

    Raises:
        ConfigurationError: a number is out of range, a style is unknown, or `out` contains something else.
        UserError: the disk is full, or `out` cannot be written.
    """
    request = Request(labels, tracks, seconds, seed, tuple(STYLES) if styles is None else styles, skew, eccentric)
    planned = {f"label-{number + 1:02d}": tracks for number, tracks in enumerate(plan(request))}
    everything = [track for tracks in planned.values() for track in tracks]
    counts = {style: sum(track.style == style for track in everything) for style in request.styles}
    reused = already_made(out, request)
    if not reused:
        check_space(out, sum(track.seconds for track in everything) * _BYTES_A_SECOND)
        with making(out, request) as aside:
            for name, tracks_of_label in planned.items():
                (aside / name).mkdir()
                (aside / name / SHEET).write_text(_sheet(tracks_of_label), encoding="utf-8")
            jobs = [(track, aside / name) for name, tracks_of_label in planned.items() for track in tracks_of_label]
            in_parallel(_write, jobs, workers=workers, progress=progress)
    return Made(out, tuple(planned), len(everything), counts, reused)


def _write(job: tuple[Track, Path]) -> None:
    write(*job)


def _sheet(tracks: list[Track]) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("path", "style", "title", "artist", "album", "isrc", "consent"))
    for track in tracks:
        rows.writerow((track.path, track.style, track.title, track.artist.name, track.album, track.isrc, track.consent))
    return text.getvalue()
