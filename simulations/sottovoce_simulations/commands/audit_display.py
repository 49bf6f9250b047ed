"""`sottovoce simulate --audit`: prints the checks and their findings, and fails if one raised an alarm."""

from dataclasses import asdict

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from sottovoce.commands.output import counted, print_json, results, say
from sottovoce.errors import PrivacyError
from sottovoce_simulations.attacks.audit import THRESHOLD, Audit, audit
from sottovoce_simulations.attacks.canaries import STYLES, Audited
from sottovoce_simulations.commands.simulation_display import LABELS, Console
from sottovoce_simulations.engine.experiment import Experiment

DECLARED = 1_000
"""Number of units that each audited label declares; it has about 200, so noise from the true number is detected."""


def audit_and_show(experiment: Experiment, console: Console, *, as_json: bool) -> None:
    """Audit the labels' code under an experiment's settings, and print the findings.

    Raises:
        SottovoceError: the run cannot be audited.
        typer.Exit: a check raised an alarm.
    """
    labels = experiment.clients or LABELS
    audited = Audited(experiment.run_configuration(STYLES, labels), DECLARED, labels)
    with console:
        console.stage("Auditing")
        found = audit(audited)
    if as_json:
        print_json(_plain(found, audited))
    else:
        _show(found)
    if not found.passed:
        raise typer.Exit(PrivacyError.exit_code)


def _plain(found: Audit, audited: Audited) -> dict[str, object]:
    checks = [{**asdict(check), "passed": check.passed} for check in found.checks]
    return {
        **asdict(found),
        "passed": found.passed,
        "threshold": THRESHOLD,
        "false_alarms": found.false_alarms,
        "checks": checks,
        "declared_units": audited.declared,
        "sample_rate": audited.plan.sample_rate,
        "noise_multiplier": audited.plan.noise_multiplier,
        "configuration": asdict(audited.config),
    }


def _show(found: Audit) -> None:
    console = results()
    table = Table("check", "found", "p-value", "", box=box.SIMPLE_HEAD)
    for check in found.checks:
        verdict = Text("ok", "green") if check.passed else Text("ALARM", "bold red")
        table.add_row(Text(check.name), Text(check.measured), f"{check.p_value:.1g}", verdict)
    console.print(table)
    if found.passed:
        finding = (
            f"{len(found.checks)} checks with {found.canaries} canaries found nothing that contradicts "
            f"ε = {found.epsilon:.2f} at δ = {found.delta:g}. An audit can refute ε, not prove it."
        )
        say(console, "Passed", finding, "bold green")
    else:
        alarms = sum(not check.passed for check in found.checks)
        finding = (
            f"{counted(alarms, 'check')} of {len(found.checks)} contradict what the labels declare. If all "
            f"declarations held, this would happen in one of {1 / found.false_alarms:,.0f} audits."
        )
        say(console, "Failed", finding, "bold red")
