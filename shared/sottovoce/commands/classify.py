"""`sottovoce classify`: recognise the style of each file with a release."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from sottovoce.api import Model
from sottovoce.commands.declared_options import takes
from sottovoce.commands.output import notes, print_json, results, say, shown
from sottovoce.commands.release_options import JsonOption, KeyOption, ReleaseOption, opened
from sottovoce.errors import AudioError, ConfigurationError
from sottovoce.studio.requests import ClassificationRequest

BAR = 24
SOME_FAILED = 1


@takes(ClassificationRequest)
def classify(
    request: ClassificationRequest,
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Audio files.", show_default=False)],
    release: ReleaseOption,
    key: KeyOption = None,
    top: Annotated[int, typer.Option(min=1, help="How many styles the table shows for each file.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Name the style of each audio file, with probabilities.

    The whole track counts: it is cut into segments as the release specifies, and their probabilities are averaged.
    Files that cannot be used are listed with the reason; the others are still classified, and the exit code is 1.
    """
    _expect_files(files)
    model = Model(opened(release, key))
    found, failed = [], 0
    for file in files:
        try:
            answer = _classified(model, file, request.over_time)
        except AudioError as error:
            failed += 1
            if as_json:
                found.append({"file": str(file), "error": error.message})
            else:
                say(notes(), "Error", f"{shown(file)}: {error.message}", "bold red")
            continue
        found.append(answer)
        if not as_json:
            _print_answer(file, answer, top)
    if as_json:
        print_json(found)
    if failed:
        say(notes(), "Error", f"{failed} of {len(files)} files could not be classified.", "bold red")
        raise typer.Exit(SOME_FAILED)


def _expect_files(files: list[Path]) -> None:
    for file in files:
        if file.is_dir():
            raise ConfigurationError(
                f"'{shown(file)}' is a folder.",
                hint="Pass files. To measure accuracy on a folder of STYLE/track, use `sottovoce evaluate`.",
            )


def _classified(model: Model, file: Path, over_time: bool) -> dict[str, Any]:
    answer = {"file": str(file), **asdict(model.classify(file, over_time=over_time))}
    if not over_time:
        del answer["segments"]
    return answer


def _print_answer(file: Path, answer: dict[str, Any], top: int) -> None:
    table = Table.grid(padding=(0, 2))
    for style, probability in list(answer["probabilities"].items())[:top]:
        chosen = style == answer["style"]
        bar = Text("█" * round(BAR * probability), "green" if chosen else "bright_black")
        table.add_row(Text(f"  {style}", "bold" if chosen else ""), f"{probability:6.1%}", bar)
    results().print(Text(shown(file)), soft_wrap=True)
    for part in answer.get("segments", ()):
        style, probability = next(iter(part["probabilities"].items()))
        table.add_row(Text(f"  {part['start']:.1f} to {part['end']:.1f} s"), f"{probability:6.1%}", Text(style))
    results().print(table)
