"""`sottovoce edit`: mend or change an audio file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from sottovoce.commands.output import bar, beside, counted, notes, print_json, results, say, shown
from sottovoce.commands.release_options import JsonOption, KeyOption
from sottovoce.commands.release_options import opened as opened_release
from sottovoce.commands.signing_options import SigningCertificateOption, SigningKeyOption, signing_key
from sottovoce.errors import AudioError, ConfigurationError
from sottovoce.files import expect_writable

if TYPE_CHECKING:
    from sottovoce.release.load import Release
    from sottovoce.studio.editing.edit_plan import Learned, Plain
    from sottovoce.studio.editing.gaps import Gap
    from sottovoce.studio.editing.pipeline import Edited
    from sottovoce.studio.editing.repairer import Chooser, Repairer
    from sottovoce.studio.provenance.origin import Value

EXAMPLES = """
Examples:

  sottovoce edit song.flac --find-gaps

  sottovoce edit song.flac --repair 12.5:12.7 -o mended.flac

  sottovoce edit song.wav --trim 10:95 --eq 250:-3 --gain 2 --fade-out 4 -o cut.wav

  sottovoce edit song.flac --release run/release --denoise 0.8 --extend 10 -o longer.flac

  sottovoce edit song.flac --stretch 1.1 --pitch=-2 -o slower.flac
"""

METHODS = ("auto", "lpc", "similar", "interpolate", "model")
MODEL_METHOD = METHODS[-1]
LONGEST_LPC = 0.1
"""Seconds: what `auto` fills by linear prediction; longer gaps by similar places (docs/editors.md, "Measured")."""
MEND, LEARNED, CHANGE, FILES = "Mend", "Change by a release", "Change, in this order", "Files"


def edit(
    source: Annotated[Path, typer.Argument(metavar="IN", help="The audio file.", show_default=False)],
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="OUT", help="Where the result goes.")] = None,
    repairs: Annotated[
        list[str] | None,
        typer.Option("--repair", metavar="START:END", help="Fill a gap, seconds. Repeatable.", rich_help_panel=MEND),
    ] = None,
    find: Annotated[
        bool, typer.Option("--find-gaps", help="List drop-outs; with -o, fill them as well.", rich_help_panel=MEND)
    ] = False,
    method: Annotated[
        str, typer.Option("--method", metavar="|".join(METHODS), help="How gaps are filled.", rich_help_panel=MEND)
    ] = "auto",
    release: Annotated[
        Path | None,
        typer.Option(
            "--release", metavar="DIR", help="An editor; to restyle, a vae generator.", rich_help_panel=LEARNED
        ),
    ] = None,
    denoise: Annotated[
        float | None,
        typer.Option("--denoise", metavar="AMOUNT", help="Take noise off, 0 to 1.", rich_help_panel=LEARNED),
    ] = None,
    extend: Annotated[
        float | None,
        typer.Option("--extend", metavar="SECONDS", help="Go on at the end.", rich_help_panel=LEARNED),
    ] = None,
    restyle: Annotated[
        str | None,
        typer.Option("--restyle", metavar="STYLE", help="Sound more like a style.", rich_help_panel=LEARNED),
    ] = None,
    amount: Annotated[
        float, typer.Option("--amount", metavar="A", help="Of the restyling, 0 to 1.", rich_help_panel=LEARNED)
    ] = 1.0,
    trusted_key: KeyOption = None,
    trim: Annotated[
        str | None,
        typer.Option("--trim", metavar="START:END", help="Keep this stretch only, seconds.", rich_help_panel=CHANGE),
    ] = None,
    stretch: Annotated[
        float | None,
        typer.Option("--stretch", metavar="FACTOR", help="How many times as long.", rich_help_panel=CHANGE),
    ] = None,
    pitch: Annotated[
        float | None,
        typer.Option("--pitch", metavar="SEMITONES", help="How much higher.", rich_help_panel=CHANGE),
    ] = None,
    eq: Annotated[
        list[str] | None,
        typer.Option(
            "--eq", metavar="FREQ:GAIN[:Q]", help="A peak or a dip, Hz and dB. Repeatable.", rich_help_panel=CHANGE
        ),
    ] = None,
    compress: Annotated[
        str | None,
        typer.Option(
            "--compress", metavar="THRESHOLD:RATIO", help="Bring down what is louder, dB.", rich_help_panel=CHANGE
        ),
    ] = None,
    gain: Annotated[
        float | None, typer.Option("--gain", metavar="DB", help="Louder or quieter.", rich_help_panel=CHANGE)
    ] = None,
    fade_in: Annotated[
        float | None, typer.Option("--fade-in", metavar="SECONDS", help="At the start.", rich_help_panel=CHANGE)
    ] = None,
    fade_out: Annotated[
        float | None, typer.Option("--fade-out", metavar="SECONDS", help="At the end.", rich_help_panel=CHANGE)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
    key: SigningKeyOption = None,
    certificate: SigningCertificateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Mend an audio file, or change it.

    When gaps are filled, everything outside them stays, sample for sample. Sample rate, channels, depth and tags are
    kept. OUT says what was done to it (see `sottovoce inspect`). IN itself is never written to.
    """
    from sottovoce.studio.editing import effect_parsing
    from sottovoce.studio.editing.edit_plan import Learned, Plain
    from sottovoce.studio.editing.gaps import parse as parse_gap

    if method not in METHODS:
        raise ConfigurationError(f"There is no method '{method}'.", hint=f"Choose from {', '.join(METHODS)}.")
    plain = Plain(
        None if trim is None else effect_parsing.stretch_of_time(trim),
        stretch,
        pitch,
        tuple(effect_parsing.band(text) for text in eq or []),
        None if compress is None else effect_parsing.compression(compress),
        gain,
        fade_in,
        fade_out,
    )
    learned = Learned(denoise, extend, restyle, amount)
    stretches = [parse_gap(text) for text in repairs or []]
    _expect_a_release(release, learned, method, gaps=bool(stretches or find))
    if not (stretches or find or plain.said() or learned.said()):
        raise ConfigurationError("Nothing to do.", hint="Give --repair START:END, --find-gaps, or an effect.")
    try:
        if output is None:
            answer = _found(source, wants_more=bool(stretches or plain.said() or learned.said()))
        else:
            _expect_free(source, output, force)
            signer = (key, certificate)
            model = None if release is None else opened_release(release, trusted_key, learned.task)
            answer = _edited(source, output, stretches, find, method, model, learned, plain, signer)
    except AudioError as error:
        raise AudioError(f"{shown(source)}: {error.message}", reason=error.reason, hint=error.hint) from None
    if as_json:
        print_json(answer)
    else:
        _print(answer)


def _found(source: Path, *, wants_more: bool) -> dict[str, Any]:
    from sottovoce.studio.editing.dropouts import find_gaps

    if wants_more:
        raise ConfigurationError("Where should the result go?", hint="Give -o OUT.")
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
    source: Path,
    output: Path,
    stretches: list[tuple[float, float]],
    find: bool,
    method: str,
    release: "Release | None",
    learned: "Learned",
    plain: "Plain",
    signer: tuple[Path | None, Path | None],
) -> dict[str, Any]:
    from sottovoce.studio.editing.dropouts import find_gaps
    from sottovoce.studio.editing.edit_plan import operation
    from sottovoce.studio.editing.gaps import in_frames, merge
    from sottovoce.studio.editing.pipeline import Plan, opened
    from sottovoce.studio.editing.pipeline import edit as carry_out
    from sottovoce.studio.editing.repairer import LEARNED as LEARNED_NAME
    from sottovoce.studio.provenance.origin import Origin

    with opened(source) as file:
        rate, frames = file.samplerate, file.frames
    gaps = in_frames(stretches, rate, frames) if stretches else ()
    if find:
        gaps = merge([*gaps, *find_gaps(source)[0]])
    if not (gaps or plain.said() or learned.said()):
        say(notes(), "Note", f"there is nothing to fill, and {shown(output)} is not written.", "yellow")
        return {"file": str(source), "output": None, "gaps": []}
    repairer = _repairer(method, release if learned.task == "editor" else None)
    said = {**learned.said(), **plain.said()}
    names = [*(["repair"] if gaps else []), *(name for name in said if name != "amount")]
    methods = [repairer.choose(gap.frames, rate).name for gap in gaps]
    method = " ".join(sorted(set(methods)))
    mended: dict[str, Value] = {"method": method, "gaps": len(gaps)} if gaps else {}
    filled = [(gap.start, gap.end) for gap, by in zip(gaps, methods, strict=True) if by == LEARNED_NAME]
    extended = learned.made(frames, rate)
    made = None if extended is None else [*filled, *extended]
    name, digest = ("", "") if release is None or made == [] else (release.manifest.name[:64], release.digest)
    plan = Plan(
        Origin(operation(names), name, digest, parameters={**mended, **said}),
        gaps,
        repairer,
        [] if release is None else learned.effects(release),
        plain.effects(),
        made,
    )
    with bar(output.name) as progress:
        done = carry_out(source, output, plan, key=signing_key(*signer), progress=progress)
    _warn(done, gaps, only_gaps=not said)
    return {
        "file": str(source),
        "output": str(output),
        "sidecar": None if done.sidecar is None else str(done.sidecar),
        "operations": names,
        "gaps": [[gap.start / rate, gap.end / rate] for gap in gaps],
        "method": method or None,
        "exact_outside": done.exact if gaps else None,
        "seconds": done.applied.frames / rate,
        "sample_rate": rate,
        "limited": done.applied.limited,
        "watermark_score": done.watermark,
    }


def _expect_a_release(release: Path | None, learned: "Learned", method: str, *, gaps: bool) -> None:
    """What needs a release has one, of one task; what needs none is told so.

    Raises:
        ConfigurationError: it is not so.
    """
    asked = learned.said()
    if release is None and (asked or method == MODEL_METHOD):
        raise ConfigurationError("This needs a release.", hint="Give --release DIR.")
    if learned.restyle is not None and (len(asked) > 2 or method == MODEL_METHOD):  # itself, and its amount
        raise ConfigurationError("Restyling needs another release than the rest.", hint="Do it in two steps.")
    if release is not None and not asked and not (gaps and method == MODEL_METHOD):
        hint = "Leave --release away, or have it fill gaps: --method model." if gaps else "Leave --release away."
        raise ConfigurationError("There is nothing for the release to do.", hint=hint)


def _repairer(method: str, release: "Release | None") -> "Chooser":
    from sottovoce.studio.editing.interpolate import InterpolatingRepairer
    from sottovoce.studio.editing.repairer import ByLength, LpcRepairer

    if method == "interpolate":
        return InterpolatingRepairer()
    if method == "lpc":
        return LpcRepairer()
    if method == MODEL_METHOD:
        from sottovoce.studio.editing.learned_repair import LearnedRepairer

        return LearnedRepairer(cast("Release", release))
    return _similar() if method == "similar" else ByLength(LpcRepairer(), _similar, LONGEST_LPC)


def _similar() -> "Repairer":
    from sottovoce.studio.editing.exemplar import ExemplarRepairer

    return ExemplarRepairer()


def _warn(done: "Edited", gaps: "tuple[Gap, ...]", *, only_gaps: bool) -> None:
    if gaps and only_gaps and not done.exact:
        message = f"{done.applied.subtype} does not keep every number: audio outside the gaps changes too."
        say(notes(), "Note", message, "yellow")
    if done.watermark == 0:
        say(notes(), "Note", "the watermark cannot be read back clearly.", "yellow")
    if done.applied.limited:
        message = f"{counted(done.applied.limited, 'sample')} beyond full scale were cut: a lower --gain avoids that."
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
