"""The commands of the simulations; `sottovoce.cli` finds them by their entry points, and heavy imports wait inside."""

from pathlib import Path
from typing import Annotated

import typer

_SHORTER, _LONGER = 0.8, 1.2  # of the mean length


def synthesise(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the catalogues: OUT/label-01/STYLE/…/track.")],
    labels: Annotated[int, typer.Option(help="How many catalogues.")] = 5,
    tracks: Annotated[int, typer.Option(help="Tracks of each.")] = 120,
    seconds: Annotated[float, typer.Option(help="Mean length; tracks last a fifth less to a fifth more.")] = 10.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same music.")] = 1,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Tracks made at a time; by default one a core.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Make catalogues of synthetic music, to try everything with.

    Nine styles that differ in rhythm, harmony and timbre, unevenly spread over the labels. OUT appears whole or not at
    all. Catalogues that the same command has made before are kept as they are; those of other options are replaced.

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
