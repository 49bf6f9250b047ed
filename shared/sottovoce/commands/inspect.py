"""`sottovoce inspect`: show where an audio file says it came from, and check it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from sottovoce.commands.output import print_json, results, shown
from sottovoce.commands.release_options import JsonOption, KeyOption, located
from sottovoce.errors import AudioError, ReleaseError
from sottovoce.release.trusted_key import trusted_agreement, trusted_key

if TYPE_CHECKING:
    from sottovoce.studio.provenance.examination import Report

INVALID = 1

EXAMPLES = """
Examples:

  sottovoce inspect song.flac

  sottovoce inspect song.ogg --release run/release --json
"""

STATES = {
    "absent": ("none", "bright_black"),
    "trusted": ("valid, signed by you or somebody you trust", "green"),
    "unknown signer": ("valid, but the signer is not among those you trust (see --trust)", "yellow"),
    "changed": ("BROKEN: the file was changed after it was signed", "bold red"),
    "invalid": ("BROKEN: damaged, or no signature is valid", "bold red"),
}


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An audio file.", show_default=False)],
    release: Annotated[
        Path | None,
        typer.Option("--release", metavar="DIR", help="Check that the file came from this release (a folder)."),
    ] = None,
    key: KeyOption = None,
    trust: Annotated[
        Path | None,
        typer.Option("--trust", metavar="PEM", help="Certificates (PEM) of authorities whose signers you trust."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show where an audio file came from: content credentials, tags and watermark, each verified.

    The exit code is 1 if anything is invalid, or if what --release or --trust ask for is missing. Finding no mark
    proves nothing: tags and credentials can be removed, and so, with effort, can the watermark.
    """
    from sottovoce.studio.provenance.examination import as_plain, examine
    from sottovoce.studio.provenance.signing_key import authorities, own_authorities

    wanted = None if release is None else _digest(release, key)
    anchors = own_authorities() + (authorities(trust) if trust else b"")
    try:
        report = examine(file, trusted=anchors, release=wanted)
    except AudioError as error:
        raise AudioError(f"{shown(file)}: {error.message}", reason=error.reason, hint=error.hint) from None
    problems = _problems(report, wanted, must_trust=trust is not None)
    if as_json:
        print_json({"file": shown(file), **as_plain(report), "problems": problems})
    else:
        _print(file, report, problems)
    if problems:
        raise typer.Exit(INVALID)


def _digest(release: Path, key: str | None) -> str:
    """SHA-256 of a release's manifest, after the whole release was verified."""
    import hashlib

    from sottovoce.release.check import check

    try:
        return hashlib.sha256(check(release, trusted_key(key), agreement=trusted_agreement(key)).raw).hexdigest()
    except ReleaseError as error:
        raise located(error, release) from None


def _problems(report: "Report", wanted: str | None, *, must_trust: bool) -> list[str]:
    """What is invalid, and what was asked for but is missing."""
    from sottovoce.studio.provenance.credentials import State
    from sottovoce.studio.provenance.origin import payload_of

    found = []
    state, origin = report.credentials.state, report.credentials.origin
    if report.damaged:
        found.append("The audio is damaged or truncated.")
    if state is State.CHANGED:
        found.append(f"The file was changed after it was signed: {_what_changed(report)}")
    elif state is State.INVALID:
        found.append("The content credentials are invalid.")
    elif report.same_audio is False:
        found.append("The credentials belong to other audio.")
    elif must_trust and state is not State.TRUSTED:
        found.append("It is not signed by anybody you trust.")
    if wanted is not None:
        signed = origin is not None and origin.digest == wanted and state in {State.TRUSTED, State.UNKNOWN_SIGNER}
        if not signed and payload_of(wanted) not in {mark.payload for mark in report.marks}:
            found.append("Neither valid credentials nor the watermark name this release.")
    return found


def _what_changed(report: "Report") -> str:
    if report.same_audio is None:
        return "whether the audio changed is unknown."
    return "the audio is as signed, other data changed." if report.same_audio else "the audio was changed."


def _print(file: Path, report: "Report", problems: list[str]) -> None:
    card = Table.grid(padding=(0, 2))
    card.add_column(style="bold", no_wrap=True)
    card.add_column(overflow="fold")
    for name, value in _rows(report):
        card.add_row(name, value)
    results().print(Text(shown(file), "bold"), soft_wrap=True)
    results().print(card)
    for problem in problems:
        results().print(Text(f"✗ {problem}", "bold red"))
    if not problems and _silent(report):
        results().print(Text("No sign of its origin was found. That proves nothing: marks can be removed."))


def _silent(report: "Report") -> bool:
    return report.credentials.state == "absent" and not report.marks and "source_type" not in report.tags


def _rows(report: "Report") -> list[tuple[str, Text]]:
    rows: list[tuple[str, Any]] = []
    facts, found = report.facts, report.credentials
    if facts is None:
        rows.append(("Audio", "format not supported for watermark detection"))
    else:
        about = f"{facts.format}, {facts.channels} × {facts.sample_rate:,} Hz, {facts.seconds:.2f} s"
        rows.append(("Audio", about))
    words, style = STATES[found.state.value]
    rows.append(("Credentials", Text(words, style)))
    if found.signer or found.issuer:
        rows.append(("  signer", f"{found.signer or 'nameless'} ({found.issuer or 'no organisation'})"))
    if found.source_type:
        rows.append(("  kind", found.source_type))
    if found.origin is not None:
        rows.append(("  operation", found.origin.operation))
        if found.origin.digest:
            rows += [("  model", found.origin.release), ("  release", found.origin.digest)]
        rows += [(f"  {name}", str(value)) for name, value in found.origin.parameters.items()]
    if report.same_audio is not None:
        rows.append(("  audio", "as signed" if report.same_audio else Text("not as signed", "bold red")))
    rows += [("Tags", "none")] if not report.tags else []
    rows += [("Tags" if n == 0 else "", f"{name}: {text}") for n, (name, text) in enumerate(report.tags.items())]
    rows += [("Watermark", "none found")] if not report.marks else []
    for number, mark in enumerate(report.marks):
        release = f"release {mark.payload.hex()}…, {mark.score:.1f} σ"
        where = f"clearest from {mark.start:.0f} to {mark.stop:.0f} s"
        rows.append(("Watermark" if number == 0 else "", f"{release}, {where}"))
    return [(name, value if isinstance(value, Text) else Text(_printable(str(value)))) for name, value in rows]


def _printable(text: str) -> str:
    """A file's text for any terminal: control characters are escaped."""
    return shown(text.encode(errors="backslashreplace").decode())
