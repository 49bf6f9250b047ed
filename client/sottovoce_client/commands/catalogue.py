"""`sottovoce catalogue`, found by `sottovoce.cli` through its entry point; heavy imports wait until it runs."""

from pathlib import Path
from typing import Annotated

import typer

catalogue = typer.Typer(no_args_is_help=True, help="Inspect a folder of audio as a label would use it.")


@catalogue.callback()
def _group() -> None:
    """Inspect a folder of audio as a label would use it."""


EXAMPLES = """
Examples:

  sottovoce catalogue scan ~/music

  sottovoce catalogue scan ~/music --purpose generator --json

  sottovoce catalogue scan ~/music --default-consent "style; editor until 2027-12-31"
"""


@catalogue.command(epilog=EXAMPLES)
def scan(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder laid out as STYLE/…/track, or with a catalogue.csv.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
    purpose: Annotated[
        list[str] | None,
        typer.Option(
            help="Open only tracks that allow this purpose: style, generator or editor. Repeat for more. "
            "Default: any of them.",
            show_default=False,
        ),
    ] = None,
    default_consent: Annotated[
        str | None,
        typer.Option(
            help="Consent of tracks without one in catalogue.csv, written as in that file. Default: style.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Files read in parallel. Default: one per core.", show_default=False)
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(
            help="Index file that speeds up the next scan. Default: in your cache folder.",
            show_default=False,
        ),
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="List every file, not only the first few.")] = False,
) -> None:
    """Show what a catalogue contains, which files cannot be used, and why.

    DIR contains WAV, FLAC, OGG, Opus or MP3 files as STYLE/…/track, or in any layout with a catalogue.csv (path, style,
    and optionally title, artist, album, isrc, consent). A second scan opens only changed files. The exit code is 2 if
    no file can be used.
    """
    from sottovoce_client.commands.catalogue_scan import scan_and_show

    scan_and_show(
        directory,
        as_json=as_json,
        purposes=purpose,
        default_consent=default_consent,
        workers=workers,
        index=index,
        show_all=show_all,
    )
