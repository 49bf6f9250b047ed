"""`sottovoce edit`: repair or change an audio file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sottovoce.commands.declared_options import takes
from sottovoce.commands.output import bar, beside, counted, notes, print_json, results, say, shown
from sottovoce.commands.release_options import JsonOption, KeyOption
from sottovoce.commands.release_options import opened as opened_release
from sottovoce.commands.signing_options import SigningCertificateOption, SigningKeyOption, signing_key
from sottovoce.errors import AudioError, ConfigurationError
from sottovoce.files import expect_writable
from sottovoce.studio.requests import EditRequest

if TYPE_CHECKING:
    from sottovoce.release.load import Release
    from sottovoce.studio.editing.pipeline import Edited
    from sottovoce.studio.editing.request import Request
    from sottovoce.studio.provenance.signing_key import SigningKey

EXAMPLES = """
Examples:

  sottovoce edit song.flac --find-gaps

  sottovoce edit song.flac --repair 12.5:12.7 -o repaired.flac

  sottovoce edit song.wav --trim 10:95 --eq 250:-3 --gain 2 --fade-out 4 -o cut.wav

  sottovoce edit song.flac --release run/release --denoise 0.8 --extend 10 -o longer.flac

  sottovoce edit song.flac --stretch 1.1 --pitch=-2 -o slower.flac
"""


@takes(EditRequest)
def edit(
    request: EditRequest,
    source: Annotated[Path, typer.Argument(metavar="IN", help="The audio file.", show_default=False)],
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="OUT", help="The file to write.")] = None,
    release: Annotated[
        Path | None,
        typer.Option(
            "--release",
            metavar="DIR",
            help="Folder of an editor's release; for --restyle, a vae generator's.",
        ),
    ] = None,
    trusted_key: KeyOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
    key: SigningKeyOption = None,
    certificate: SigningCertificateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Repair or change an audio file.

    Filling gaps changes no sample outside them. Sample rate, channels, bit depth and tags are kept. OUT records what
    was done to it (see `sottovoce inspect`). IN is only read.
    """
    wanted = request.parsed()
    wanted.expect_release(given=release is not None)
    try:
        if output is None:
            answer = _found(source, wants_more=bool(wanted.repairs or wanted.effects()))
        else:
            _expect_free(source, output, force)
            model = None if release is None else opened_release(release, trusted_key, wanted.learned.task)
            answer = _edited(source, output, wanted, model, signing_key(key, certificate))
    except AudioError as error:
        raise AudioError(f"{shown(source)}: {error.message}", reason=error.reason, hint=error.hint) from None
    if as_json:
        print_json(answer)
    else:
        _print(answer)


def _found(source: Path, *, wants_more: bool) -> dict[str, Any]:
    from sottovoce.studio.editing.dropouts import find_gaps

    if wants_more:
        raise ConfigurationError("No output file given.", hint="Add -o OUT.")
    gaps, rate = find_gaps(source)
    return {"file": str(source), "gaps": [[gap.start / rate, gap.end / rate] for gap in gaps]}


def _expect_free(source: Path, output: Path, force: bool) -> None:
    from sottovoce.studio.editing.pipeline import expect_apart

    try:
        expect_apart(source, output, force=force)
        expect_writable(output.parent)
    except ConfigurationError as error:
        raise ConfigurationError(f"{shown(output)}: {error.message}", hint=error.hint) from None


def _edited(
    source: Path, output: Path, request: "Request", release: "Release | None", key: "SigningKey"
) -> dict[str, Any]:
    from sottovoce.studio.editing.request import carry_out

    with bar(output.name) as progress:
        result = carry_out(request, source, output, release=release, key=key, progress=progress)
    done = result.edited
    if done is None:
        say(notes(), "Note", f"no gaps to fill; {shown(output)} was not written.", "yellow")
        return {"file": str(source), "output": None, "gaps": []}
    _warn(done, gaps=bool(result.gaps), only_gaps=not request.effects())
    return {
        "file": str(source),
        "output": str(output),
        "sidecar": None if done.sidecar is None else str(done.sidecar),
        "operations": list(result.operations),
        "gaps": [list(gap) for gap in result.gaps],
        "method": result.method or None,
        "exact_outside": done.exact if result.gaps else None,
        "seconds": result.seconds,
        "sample_rate": result.sample_rate,
        "limited": done.applied.limited,
        "watermark_score": done.watermark,
    }


def _warn(done: "Edited", *, gaps: bool, only_gaps: bool) -> None:
    if gaps and only_gaps and not done.exact:
        message = f"{done.applied.subtype} cannot store every sample exactly: audio outside the gaps changes too."
        say(notes(), "Note", message, "yellow")
    if done.watermark == 0:
        say(notes(), "Note", "the watermark cannot be read back clearly.", "yellow")
    if done.applied.limited:
        message = (
            f"{counted(done.applied.limited, 'sample')} beyond full scale were clipped; a lower --gain avoids that."
        )
        say(notes(), "Note", message, "yellow")


def _print(answer: dict[str, Any]) -> None:
    for start, end in answer["gaps"]:
        results().print(f"{start:.6f}:{end:.6f}")
    if not answer.get("output") or answer["gaps"]:
        verb = "filled" if answer.get("output") else "found"
        say(notes(), "Gaps", f"{counted(len(answer['gaps']), 'gap')} {verb}.", "bold")
    if answer.get("output"):
        say(notes(), "Written", f"{shown(answer['output'])}, {answer['seconds']:.2f} s.", "bold")
    if answer.get("sidecar"):
        say(notes(), "Note", beside(Path(answer["sidecar"])), "yellow")
