"""`sottovoce generate`: new music of a style, by a release."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sottovoce.commands.output import bar, notes, print_json, results, say, shown
from sottovoce.commands.releases import JsonOption, KeyOption, ReleaseOption, opened
from sottovoce.errors import ConfigurationError

if TYPE_CHECKING:
    from sottovoce.provenance.write import Written
    from sottovoce.release.load import Release

EXAMPLES = """
Examples:

  sottovoce generate --release run/release --style waltz -o waltz.flac

  sottovoce generate --release run/release --style techno --seconds 60 --count 4 --seed 7 -o out/techno.wav

  sottovoce generate --release run/release --style blues --temperature 0.7 -o blues.ogg --json
"""

LONGEST_SECONDS = 3600.0


def generate(
    release: ReleaseOption,
    style: Annotated[str, typer.Option("--style", help="One of the release's styles.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="OUT", help="A .wav, .flac or .ogg file.", show_default=False),
    ],
    seconds: Annotated[float, typer.Option(min=0.1, max=LONGEST_SECONDS, help="How long.")] = 10.0,
    count: Annotated[int, typer.Option(min=1, help="How many; above 1, OUT-1, OUT-2, … are written.")] = 1,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed gives the same music.")] = None,
    temperature: Annotated[
        float, typer.Option(min=0.0, max=2.0, help="1 draws as trained, less keeps to what is likelier.")
    ] = 1.0,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make new music of a style.

    The files say where they came from (see `sottovoce inspect`): signed credentials, tags and a watermark.
    """
    from sottovoce.provenance.containers import container_of

    container_of(output)
    places = _places(output, count, force)
    model = opened(release, key, task="generator")
    seed = secrets.randbits(31) if seed is None else seed
    made = []
    for index, place in enumerate(places):
        with bar(place.name) as progress:
            made.append(_made(model, style, place, seconds, seed, index, temperature, progress))
        if not as_json:
            results().print(shown(place), soft_wrap=True)
    if as_json:
        print_json(made)
    else:
        say(notes(), "Seed", f"{seed}: --seed {seed} makes the same again.", "cyan")


def _places(output: Path, count: int, force: bool) -> list[Path]:
    places = [output.with_stem(f"{output.stem}-{number}") for number in range(1, count + 1)] if count > 1 else [output]
    for place in places:
        if place.is_dir():
            raise ConfigurationError(f"'{shown(place)}' is a folder.", hint="Name a file.")
        if place.exists() and not force:
            raise ConfigurationError(f"'{shown(place)}' exists.", hint="Give another name, or --force.")
    return places


def _made(
    model: "Release",
    style: str,
    place: Path,
    seconds: float,
    seed: int,
    index: int,
    temperature: float,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    from sottovoce.generate import generate as compose

    samples = compose(model, style, seconds, seed=seed, index=index, temperature=temperature, progress=progress)
    rate = model.manifest.features.sample_rate
    written = _written(model, place, samples[None], style, seconds, seed, index, temperature)
    if written.watermarked and not written.score:
        say(notes(), "Note", f"{shown(place)}: the watermark cannot be read back clearly.", "yellow")
    return {
        "file": str(place),
        "sidecar": None if written.sidecar is None else str(written.sidecar),
        "style": style,
        "seconds": samples.size / rate,
        "sample_rate": rate,
        "seed": seed,
        "index": index,
        "temperature": temperature,
        "watermark_score": written.score,
    }


def _written(
    model: "Release",
    place: Path,
    samples: Any,
    style: str,
    seconds: float,
    seed: int,
    index: int,
    temperature: float,
) -> "Written":
    """Write a file with its origin: all that a release makes goes through here."""
    from sottovoce.provenance.origin import GENERATE, Origin
    from sottovoce.provenance.write import write_audio

    origin = Origin(
        GENERATE,
        model.manifest.name[:64],
        model.digest,
        {
            "style": style.replace("/", "-").replace("\\", "-")[:64],
            "seconds": float(seconds),
            "seed": seed,
            "index": index,
            "temperature": float(temperature),
        },
    )
    return write_audio(place, samples, model.manifest.features.sample_rate, origin, title=f"{style} {seed}-{index}")
