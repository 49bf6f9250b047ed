"""`sottovoce label audit`: whether a release has memorised this label's music. Its output stays at the label."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table
from rich.text import Text

from sottovoce.commands.output import counted, notes, print_json, results, say, shown
from sottovoce.errors import ReleaseError
from sottovoce_client.commands.label.common import bar, opened
from sottovoce_client.home.policy import Policy

if TYPE_CHECKING:
    from sottovoce.release.load import Release
    from sottovoce_client.copy_audit.release_audit import Findings
    from sottovoce_client.home.label_home import LabelHome


def audit_release(release: Path, home: Path | None, *, workers: int | None, matches: bool, as_json: bool) -> None:
    """Audit a release and print the result.

    Raises:
        SottovoceError: home, policy, catalogue or release cannot be used.
        typer.Exit: something was copied.
    """
    from sottovoce.release.load import load

    label = opened(home)
    try:
        model = load(release)
    except ReleaseError as error:
        raise ReleaseError(f"{shown(release)}: {error.message}", hint=error.hint) from None
    findings = audited(label, model, workers=workers)
    if as_json:
        print_json(_plain(findings, matches))
    else:
        _show(release, findings, matches)
    if not findings.passed:
        from sottovoce_client.copy_audit.release_audit import CopiesFound

        raise typer.Exit(CopiesFound.exit_code)


def audited(label: "LabelHome", release: "Release", *, workers: int | None = None, cosign: bool = False) -> "Findings":
    """Audit a release with progress bars, and note the result in the diary.

    Args:
        label: the label's home.
        release: the release to audit.
        workers: number of processes that read files.
        cosign: whether a co-signature follows if it passes.
    """
    from sottovoce_client.copy_audit.release_audit import audit

    findings = audit(label, release, Policy.from_toml(label.policy_file), workers=workers, stage=bar)
    run = bytes.fromhex(release.manifest.run)
    label.diary.audited(run, release=release.digest, passed=findings.passed, cosign=cosign)
    return findings


def _plain(findings: "Findings", matches: bool) -> dict[str, Any]:
    values: dict[str, Any] = {
        "passed": findings.passed,
        "samples": findings.samples,
        "copied": findings.copied,
        "tracks": findings.tracks,
        "calibrated_by": findings.bounds.tracks,
        "duplicates": findings.bounds.duplicates,
    }
    if matches:
        values["matches"] = [
            {
                "style": match.sample.style,
                "seed": match.sample.seed,
                "temperature": match.sample.temperature,
                "track": str(match.track),
            }
            for match in findings.matches
        ]
    return values


def _show(release: Path, findings: "Findings", matches: bool) -> None:
    console, bounds = results(), findings.bounds
    console.print(
        f"Compared {counted(findings.samples, 'sample')} of {shown(release)} with {counted(findings.tracks, 'track')} "
        f"that this label trains on; thresholds from {counted(bounds.tracks, 'track')} that cannot have been copied.",
        soft_wrap=True,
    )
    if bounds.duplicates:
        say(
            notes(),
            "Note",
            f"{counted(bounds.duplicates, 'track')} not used for calibration: another file has the same recording.",
            "bold yellow",
        )
    if findings.passed:
        say(console, "Passed", "no sample is closer to this label's music than unrelated music is.", "bold green")
        return
    say(console, "Failed", f"{counted(findings.copied, 'sample')} too close to this label's music.", "bold red")
    if not matches:
        console.print("`--matches` names the tracks. Keep that output private.", soft_wrap=True)
        return
    table = Table("style", "seed", "temperature", "your track")
    for match in findings.matches:
        sample = match.sample
        table.add_row(Text(sample.style), str(sample.seed), f"{sample.temperature:g}", Text(shown(match.track)))
    console.print(table)
