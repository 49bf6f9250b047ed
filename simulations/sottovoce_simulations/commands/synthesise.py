"""Commands of the simulations, found by `sottovoce.cli` through entry points; heavy imports are inside."""

from pathlib import Path
from typing import Annotated

import typer

_SHORTER, _LONGER = 0.8, 1.2  # of the mean length


def synthesise(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the catalogues: OUT/label-01/STYLE/…/track.")],
    labels: Annotated[int, typer.Option(help="Number of catalogues.")] = 5,
    tracks: Annotated[int, typer.Option(help="Tracks per catalogue.")] = 120,
    seconds: Annotated[float, typer.Option(help="Mean length of a track in seconds; lengths vary by ±20 %.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Random seed; equal seeds give equal music.")] = 1,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Tracks rendered in parallel. Default: one per core.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Generate catalogues of synthetic music for trying everything out.

    Nine styles that differ in rhythm, harmony and timbre, unevenly distributed over the labels. OUT appears complete or
    not at all. Catalogues that an equal command created are reused; those of other options are replaced.

    Examples:

    sottovoce synthesise music

    sottovoce synthesise music --labels 10 --tracks 300 --seconds 12

    sottovoce synthesise music --seed 7 --json
    """
    from sottovoce_simulations.commands.synthesis_display import synthesise_and_show

    synthesise_and_show(
        out,
        labels=labels,
        tracks=tracks,
        seconds=(seconds * _SHORTER, seconds * _LONGER),
        seed=seed,
        workers=workers,
        as_json=as_json,
    )
