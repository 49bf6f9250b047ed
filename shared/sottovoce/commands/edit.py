"""`sottovoce edit`: mend an audio file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sottovoce.commands.output import counted, notes, print_json, results, say, shown
from sottovoce.commands.releases import JsonOption
from sottovoce.errors import AudioError, ConfigurationError


def edit(
    source: Annotated[Path, typer.Argument(metavar="IN", help="The audio file.", show_default=False)],
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="OUT", help="Where the result goes.")] = None,
    repairs: Annotated[
        list[str] | None, typer.Option("--repair", metavar="START:END", help="Fill a gap, seconds. Repeatable.")
    ] = None,
    find: Annotated[bool, typer.Option("--find-gaps", help="List drop-outs; with -o, fill them as well.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Fill gaps in an audio file; everything outside them stays, sample for sample.

    A gap is filled by what a linear predictor of its surroundings expects (autoregressive interpolation). Sample rate,
    channels, depth and tags are kept. IN itself is never written to.
    """
    from sottovoce.editing.gaps import parse

    stretches = [parse(text) for text in repairs or []]
    if not stretches and not find:
        raise ConfigurationError("Nothing to do.", hint="Give --repair START:END or --find-gaps.")
    try:
        answer = _edited(source, output, stretches, find, force)
    except AudioError as error:
        raise AudioError(f"{shown(source)}: {error.message}", reason=error.reason, hint=error.hint) from None
    if as_json:
        print_json(answer)
    else:
        _print(answer)


def _edited(
    source: Path, output: Path | None, stretches: list[tuple[float, float]], find: bool, force: bool
) -> dict[str, Any]:
    from sottovoce.editing.find import find_gaps
    from sottovoce.editing.repair import expect_apart, repair
    from sottovoce.editing.repairer import LpcRepairer

    if output is None:
        if stretches:
            raise ConfigurationError("Where should the result go?", hint="Give -o OUT.")
        gaps, rate = find_gaps(source)
        return {"file": str(source), "gaps": [[gap.start / rate, gap.end / rate] for gap in gaps]}
    expect_apart(source, output)
    if output.exists() and not force:
        raise ConfigurationError(f"'{shown(output)}' exists.", hint="Give another name, or --force.")
    if find:
        gaps, rate = find_gaps(source)
        stretches = stretches + [(gap.start / rate, gap.end / rate) for gap in gaps]
        if not stretches:
            return {"file": str(source), "gaps": []}
    repairer = LpcRepairer()
    done = repair(source, output, stretches, repairer)
    if not done.exact:
        say(
            notes(), "Note", f"{done.subtype} does not keep every number: audio outside the gaps changes too.", "yellow"
        )
    return {
        "file": str(source),
        "output": str(output),
        "gaps": [[gap.start / done.sample_rate, gap.end / done.sample_rate] for gap in done.gaps],
        "method": repairer.name,
        "exact_outside": done.exact,
    }


def _print(answer: dict[str, Any]) -> None:
    for start, end in answer["gaps"]:
        results().print(f"{start:.6f}:{end:.6f}")
    verb = "filled" if "output" in answer else "found"
    say(notes(), "Gaps", f"{counted(len(answer['gaps']), 'gap')} {verb}.", "bold")
