"""Output of the doctors of label, coordinator and registry."""

from collections.abc import Callable, Iterable
from typing import Annotated

import typer

from sottovoce.commands.output import print_json, results, say
from sottovoce.findings import Finding, exit_code

RepairOption = Annotated[
    bool, typer.Option("--repair", help="Repair what needs no decision: nothing that was spent or signed is lost.")
]


def diagnose(examine: Callable[[], Iterable[Finding]], *, repair: bool, as_json: bool) -> None:
    """Examine, repair if asked to, and print what was found.

    Args:
        examine: finds what is wrong; called again after repairing.
        repair: repair what can be repaired.
        as_json: print one JSON object.

    Raises:
        typer.Exit: something is left; 1 if all of it can be repaired, 7 if it needs a person.
    """
    found, repaired = list(examine()), []
    if repair:
        for finding in found:
            if finding.repair:
                finding.repair()
                repaired.append(finding)
        found = list(examine()) if repaired else found
    code = exit_code(found)
    if as_json:
        print_json({"repaired": [_plain(each) for each in repaired], "found": [_plain(each) for each in found]})
    else:
        for each in repaired:
            say(results(), "Repaired", f"{each.where}: {each.what}", "bold green")
        for each in found:
            say(results(), "Repairable" if each.repair else "For you", f"{each.where}: {each.what}", "bold yellow")
            say(results(), "  Do", each.remedy, "bold cyan")
        if not found:
            results().print("Nothing is wrong.")
    if code:
        raise typer.Exit(code)


def _plain(finding: Finding) -> dict[str, object]:
    return {
        "where": finding.where,
        "what": finding.what,
        "remedy": finding.remedy,
        "repairable": finding.repair is not None,
    }
