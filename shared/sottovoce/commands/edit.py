"""`sottovoce edit`: repair or change an audio file."""

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
    from sottovoce.studio.editing.edit_plan import LearnedEffects, PlainEffects
    from sottovoce.studio.editing.gaps import Gap
    from sottovoce.studio.editing.pipeline import Edited
    from sottovoce.studio.editing.repairer import Chooser, Repairer
    from sottovoce.studio.provenance.origin import Value

EXAMPLES = """
Examples:

  sottovoce edit song.flac --find-gaps

  sottovoce edit song.flac --repair 12.5:12.7 -o repaired.flac

  sottovoce edit song.wav --trim 10:95 --eq 250:-3 --gain 2 --fade-out 4 -o cut.wav

  sottovoce edit song.flac --release run/release --denoise 0.8 --extend 10 -o longer.flac

  sottovoce edit song.flac --stretch 1.1 --pitch=-2 -o slower.flac
"""

METHODS = ("auto", "lpc", "exemplar", "interpolate", "model")
MODEL_METHOD = METHODS[-1]
FORMER_METHODS = {"similar": "exemplar"}
"""Former names of methods, accepted for one version."""
LONGEST_LPC = 0.1
"""Longest gap that `auto` fills by linear prediction, in seconds; longer ones are filled from similar passages."""
REPAIR, LEARNED, CHANGE = "Repair", "Change with a release", "Change, in this order"


def edit(
    source: Annotated[Path, typer.Argument(metavar="IN", help="The audio file.", show_default=False)],
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="OUT", help="The file to write.")] = None,
    repairs: Annotated[
        list[str] | None,
        typer.Option(
            "--repair", metavar="START:END", help="Fill a gap, in seconds. Repeatable.", rich_help_panel=REPAIR
        ),
    ] = None,
    find: Annotated[
        bool, typer.Option("--find-gaps", help="List drop-outs; with -o, fill them.", rich_help_panel=REPAIR)
    ] = False,
    method: Annotated[
        str, typer.Option("--method", metavar="|".join(METHODS), help="How to fill gaps.", rich_help_panel=REPAIR)
    ] = "auto",
    release: Annotated[
        Path | None,
        typer.Option(
            "--release",
            metavar="DIR",
            help="An editor's release; for --restyle, a vae generator's.",
            rich_help_panel=LEARNED,
        ),
    ] = None,
    denoise: Annotated[
        float | None,
        typer.Option("--denoise", metavar="AMOUNT", help="Reduce noise, from 0 to 1.", rich_help_panel=LEARNED),
    ] = None,
    extend: Annotated[
        float | None,
        typer.Option("--extend", metavar="SECONDS", help="Seconds of music to append.", rich_help_panel=LEARNED),
    ] = None,
    restyle: Annotated[
        str | None,
        typer.Option("--restyle", metavar="STYLE", help="Style to move the music towards.", rich_help_panel=LEARNED),
    ] = None,
    amount: Annotated[
        float, typer.Option("--amount", metavar="A", help="Strength of --restyle, 0 to 1.", rich_help_panel=LEARNED)
    ] = 1.0,
    trusted_key: KeyOption = None,
    trim: Annotated[
        str | None,
        typer.Option("--trim", metavar="START:END", help="Keep only this part, in seconds.", rich_help_panel=CHANGE),
    ] = None,
    stretch: Annotated[
        float | None,
        typer.Option("--stretch", metavar="FACTOR", help="Tempo factor; 2 doubles the length.", rich_help_panel=CHANGE),
    ] = None,
    pitch: Annotated[
        float | None,
        typer.Option("--pitch", metavar="SEMITONES", help="Semitones to shift the pitch up.", rich_help_panel=CHANGE),
    ] = None,
    eq: Annotated[
        list[str] | None,
        typer.Option(
            "--eq", metavar="FREQ:GAIN[:Q]", help="Peak or dip, in Hz and dB. Repeatable.", rich_help_panel=CHANGE
        ),
    ] = None,
    compress: Annotated[
        str | None,
        typer.Option(
            "--compress", metavar="THRESHOLD:RATIO", help="Compress above a threshold in dB.", rich_help_panel=CHANGE
        ),
    ] = None,
    gain: Annotated[
        float | None, typer.Option("--gain", metavar="DB", help="Change of level in dB.", rich_help_panel=CHANGE)
    ] = None,
    fade_in: Annotated[
        float | None, typer.Option("--fade-in", metavar="SECONDS", help="Fade in at the start.", rich_help_panel=CHANGE)
    ] = None,
    fade_out: Annotated[
        float | None, typer.Option("--fade-out", metavar="SECONDS", help="Fade out at the end.", rich_help_panel=CHANGE)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
    key: SigningKeyOption = None,
    certificate: SigningCertificateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Repair or change an audio file.

    Filling gaps changes no sample outside them. Sample rate, channels, bit depth and tags are kept. OUT records what
    was done to it (see `sottovoce inspect`). IN is never written to.
    """
    from sottovoce.studio.editing import effect_parsing
    from sottovoce.studio.editing.edit_plan import LearnedEffects, PlainEffects
    from sottovoce.studio.editing.gaps import parse as parse_gap

    method = FORMER_METHODS.get(method, method)
    if method not in METHODS:
        raise ConfigurationError(f"Unknown method '{method}'.", hint=f"Choose from {', '.join(METHODS)}.")
    plain = PlainEffects(
        None if trim is None else effect_parsing.stretch_of_time(trim),
        stretch,
        pitch,
        tuple(effect_parsing.band(text) for text in eq or []),
        None if compress is None else effect_parsing.compression(compress),
        gain,
        fade_in,
        fade_out,
    )
    learned = LearnedEffects(denoise, extend, restyle, amount)
    stretches = [parse_gap(text) for text in repairs or []]
    _expect_a_release(release, learned, method, gaps=bool(stretches or find))
    if not (stretches or find or plain.parameters() or learned.parameters()):
        raise ConfigurationError("Nothing to do.", hint="Give --repair START:END, --find-gaps, or an effect.")
    try:
        if output is None:
            answer = _found(source, wants_more=bool(stretches or plain.parameters() or learned.parameters()))
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
        raise ConfigurationError("No output file was given.", hint="Give -o OUT.")
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
    learned: "LearnedEffects",
    plain: "PlainEffects",
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
    if not (gaps or plain.parameters() or learned.parameters()):
        say(notes(), "Note", f"no gaps to fill; {shown(output)} was not written.", "yellow")
        return {"file": str(source), "output": None, "gaps": []}
    repairer = _repairer(method, release if learned.task == "editor" else None)
    parameters = {**learned.parameters(), **plain.parameters()}
    names = [*(["repair"] if gaps else []), *(name for name in parameters if name != "amount")]
    methods = [repairer.choose(gap.frames, rate).name for gap in gaps]
    method = " ".join(sorted(set(methods)))
    repaired: dict[str, Value] = {"method": method, "gaps": len(gaps)} if gaps else {}
    filled = [(gap.start, gap.end) for gap, by in zip(gaps, methods, strict=True) if by == LEARNED_NAME]
    extended = learned.model_made(frames, rate)
    made = None if extended is None else [*filled, *extended]
    name, digest = ("", "") if release is None or made == [] else (release.manifest.name[:64], release.digest)
    plan = Plan(
        Origin(operation(names), name, digest, parameters={**repaired, **parameters}),
        gaps,
        repairer,
        [] if release is None else learned.effects(release),
        plain.effects(),
        made,
    )
    with bar(output.name) as progress:
        done = carry_out(source, output, plan, key=signing_key(*signer), progress=progress)
    _warn(done, gaps, only_gaps=not parameters)
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


def _expect_a_release(release: Path | None, learned: "LearnedEffects", method: str, *, gaps: bool) -> None:
    """Check that --release is given where it is needed, and only there.

    Raises:
        ConfigurationError: it is missing, has nothing to do, or would have to be of two tasks.
    """
    asked = learned.parameters()
    if release is None and (asked or method == MODEL_METHOD):
        raise ConfigurationError("This needs a release.", hint="Give --release DIR.")
    if learned.restyle is not None and (len(asked) > 2 or method == MODEL_METHOD):  # itself, and its amount
        raise ConfigurationError(
            "--restyle needs a generator's release, the other options an editor's.", hint="Edit in two steps."
        )
    if release is not None and not asked and not (gaps and method == MODEL_METHOD):
        hint = "Leave out --release, or fill gaps with it: --method model." if gaps else "Leave out --release."
        raise ConfigurationError("No option uses the release.", hint=hint)


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
    return _exemplar() if method == "exemplar" else ByLength(LpcRepairer(), _exemplar, LONGEST_LPC)


def _exemplar() -> "Repairer":
    from sottovoce.studio.editing.exemplar import ExemplarRepairer

    return ExemplarRepairer()


def _warn(done: "Edited", gaps: "tuple[Gap, ...]", *, only_gaps: bool) -> None:
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
