"""`sottovoce generate`: generate new music of a style with a release."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sottovoce.commands.declared_options import takes
from sottovoce.commands.output import bar, beside, notes, print_json, results, say, shown
from sottovoce.commands.release_options import JsonOption, KeyOption, ReleaseOption, opened
from sottovoce.errors import ConfigurationError
from sottovoce.files import expect_writable
from sottovoce.studio.best_of import CANDIDATES, BestOf
from sottovoce.studio.requests import GenerationRequest

if TYPE_CHECKING:
    from sottovoce.release.load import Release
    from sottovoce.studio.piece import Asked

EXAMPLES = """
Examples:

  sottovoce generate --release run/release --style waltz -o waltz.flac

  sottovoce generate --release run/release --style techno --seconds 60 --count 4 --seed 7 -o out/techno.wav

  sottovoce generate --release run/release --style blues --temperature 0.7 -o blues.ogg --json

  sottovoce generate --release run/release --style waltz --judge styles/release -o waltz.flac
"""


@takes(GenerationRequest)
def generate(
    request: GenerationRequest,
    release: ReleaseOption,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="A .wav, .flac or .ogg file; several pieces become OUT-1, OUT-2, ….",
            show_default=False,
        ),
    ],
    judge: Annotated[
        Path | None,
        typer.Option(
            "--judge",
            metavar="DIR",
            help="A style release that picks the best of several candidates: the one that it "
            "recognises most clearly as STYLE is continued.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Generate new music of a style.

    The files carry their origin (see `sottovoce inspect`): signed credentials, tags and a watermark.
    """
    from sottovoce.studio.piece import Asked
    from sottovoce.studio.provenance.containers import container_of

    container_of(output)
    places = _places(output, request.count, force)
    model = opened(release, key, task="generator")
    best_of = _best_of(judge, request.candidates, key)
    seed = secrets.randbits(31) if request.seed is None else request.seed
    made = []
    for index, place in enumerate(places):
        asked = Asked(request.style, request.seconds, seed, index, request.temperature, best_of)
        with bar(place.name) as progress:
            made.append(_made(model, asked, place, progress))
        if not as_json:
            results().print(shown(place), soft_wrap=True)
    if as_json:
        print_json(made)
    else:
        say(notes(), "Seed", f"{seed}: --seed {seed} generates the same music again.", "cyan")


def _places(output: Path, count: int, force: bool) -> list[Path]:
    from sottovoce.studio.provenance.containers import expect_no_sidecar

    places = [output.with_stem(f"{output.stem}-{number}") for number in range(1, count + 1)] if count > 1 else [output]
    expect_writable(output.parent)
    for place in places:
        if place.is_dir():
            raise ConfigurationError(f"'{shown(place)}' is a folder.", hint="Name a file.")
        if place.exists() and not force:
            raise ConfigurationError(f"'{shown(place)}' exists.", hint="Choose another name, or add --force.")
        if not force:
            expect_no_sidecar(place)
    return places


def _best_of(judge: Path | None, candidates: int | None, key: str | None) -> BestOf | None:
    if judge is None:
        if candidates is not None:
            raise ConfigurationError(
                "--candidates needs a --judge.", hint="Add --judge with a release of the task 'style'."
            )
        return None
    return BestOf(opened(judge, key), candidates or CANDIDATES)


def _made(model: "Release", asked: "Asked", place: Path, progress: Callable[[int, int], None]) -> dict[str, Any]:
    from sottovoce.studio.piece import compose

    piece = compose(model, asked, progress=progress)
    written = piece.save(place)
    if not written.watermarked:
        say(notes(), "Note", f"{shown(place)} has no watermark: it is too short for one.", "yellow")
    elif not written.score:
        say(notes(), "Note", f"{shown(place)}: the watermark cannot be read back clearly.", "yellow")
    if written.sidecar is not None:
        say(notes(), "Note", beside(written.sidecar), "yellow")
    return {
        "file": str(place),
        "sidecar": None if written.sidecar is None else str(written.sidecar),
        **asked.parameters(),
        "style": asked.style,
        "seconds": piece.seconds,
        "sample_rate": piece.sample_rate,
        "watermark_score": written.score if written.watermarked else None,
    }
