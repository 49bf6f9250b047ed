"""`sottovoce label status` and `… ledger`: runs taken part in, runs declined, and privacy spent."""

import csv
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from sottovoce.commands.output import counted, print_json, results, say, shown
from sottovoce.errors import ConfigurationError, OtherVersion
from sottovoce.federation.fingerprint import as_hex, as_words, fingerprint
from sottovoce.federation.refusals import RefusalReason
from sottovoce.protocol.message import VERSION
from sottovoce_client.budget.account import Account, RunAccount, account_of
from sottovoce_client.catalogue.sides import Counts, Sides
from sottovoce_client.commands.label.common import opened
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.policy import Policy

SHORT = 8  # digits of a run's id that a table shows
LATEST = 5  # refusals, and runs in which labels went wrong, that a status names
RESCAN = "Look at it with: sottovoce label catalogue"


def show_status(home: Path | None, *, as_json: bool) -> None:
    """Print the label's state.

    Raises:
        SottovoceError: home, policy or ledger cannot be read.
    """
    label = opened(home)
    account = account_of(label)
    policy, own = Policy.from_toml(label.policy_file), _fingerprint(label)
    federation, outdated = _federation(label)
    sides = _sides(label)
    if as_json:
        print_json(
            {
                "label": label.name,
                "home": str(label.root),
                "federation": federation,
                "outdated": outdated,
                "words": own and as_words(own),
                "fingerprint": own and own.hex(),
                "catalogues": [str(folder) for folder in label.catalogues],
                "tracks": sides and sides._asdict(),
                "training_now": policy.awake(),
                "open_runs": [_plain(run) for run in account.runs if run.state == "open"],
                "gone_wrong": [
                    {
                        "run": run.run,
                        "complained": run.complained,
                        "left_out": run.left_out,
                        "put_back": run.put_back,
                    }
                    for run in _gone_wrong(account)
                ],
                "lowered": [run.run for run in _lowered(account)],
                "refused": [_plain(run) for run in account.runs if run.state == "refused"][-LATEST:],
                "lifetime": _lifetime(account),
            }
        )
        return
    console = results()
    card = Table.grid(padding=(0, 2))
    card.add_column(style="bold", no_wrap=True)
    card.add_column(overflow="fold")
    card.add_row("label", label.name)
    card.add_row("home", shown(label.root))
    card.add_row("federation", federation or outdated or "none yet: sottovoce label join federation.toml")
    if own:
        card.add_row("fingerprint", f"{as_words(own)}\n{as_hex(own)}")
    folders = [shown(folder) for folder in label.catalogues]
    card.add_row("catalogues", Text("\n".join(folders) or "none yet: sottovoce label catalogue DIR"))
    card.add_row("held out", _held_out(sides))
    card.add_row("hours", f"{str(policy.hours) or 'any time'}{'' if policy.awake() else ' (not now)'}")
    card.add_row("lifetime ε", _sentence(account))
    console.print(card)
    running = [run for run in account.runs if run.state == "open"]
    console.print(_table(running, "Open runs") if running else "No run is open.")
    for run in running:
        if run.no_tracks is not None:
            say(console, "Warning", f"run {run.run[:SHORT]} {_without_tracks(run.no_tracks)}", "bold yellow")
        if 0 < run.protocol < VERSION:
            used = f"run {run.run[:SHORT]} uses version {run.protocol} of the protocol"
            say(console, "Version", f"{used}; this release also speaks {VERSION}", "bold")
    for run in _lowered(account):
        why = f"{_explained(RefusalReason.PROTOCOL)}; it was left before any round"
        say(console, "Declined", f"run {run.run[:SHORT]}: {why}. See docs/upgrade.md", "bold yellow")
    if wrong := _gone_wrong(account):
        console.print(_labels_gone_wrong(wrong))
    refused = [run for run in account.runs if run.state == "refused"][-LATEST:]
    if refused:
        _show_refusals(refused, "Declined lately")


def show_ledger(home: Path | None, *, as_json: bool, as_csv: bool) -> None:
    """Print privacy spent, run by run.

    Raises:
        SottovoceError: home, policy or ledger cannot be read; or both formats are requested.
    """
    if as_json and as_csv:
        raise ConfigurationError("Use either --json or --csv.")
    account = account_of(opened(home))
    if as_json:
        print_json({"runs": [_plain(run) for run in account.runs], "lifetime": _lifetime(account)})
    elif as_csv:
        _print_csv(account)
    else:
        joined = [run for run in account.runs if run.state != "refused"]
        refused = [run for run in account.runs if run.state == "refused"]
        results().print(_table(joined, "Runs") if joined else "No run has been joined.")
        for run in joined:
            if run.ended:
                say(results(), "Closed", f"run {run.run[:SHORT]}: {run.ended}", "bold")
        if refused:
            _show_refusals(refused, "Declined")
        results().print(f"Lifetime ε: {_sentence(account)}")


def _fingerprint(label: LabelHome) -> bytes | None:
    """The label's fingerprint; None if the keys need a passphrase that is not available."""
    try:
        return fingerprint(label.name, label.identity().public_key)
    except ConfigurationError:
        return None


def _sides(label: LabelHome) -> Counts | None:
    """Number of tracks on each side; None if the home has no table of them yet."""
    if not label.keeps_sides:
        return None
    with Sides(label.sides_file) as table:
        return table.counts()


def _held_out(sides: Counts | None) -> str:
    if sides is None:
        return "not written down yet: sottovoce label catalogue"
    if not sum(sides):
        return "no track has been looked at yet"
    return f"{sides.held_out:,} of {counted(sum(sides), 'track')} that were ever looked at; the others are trained on"


def _federation(label: LabelHome) -> tuple[str | None, str | None]:
    """The federation whose agreement the label has accepted; for an earlier version of it, what to do instead."""
    try:
        agreement = label.agreement()
    except OtherVersion as error:
        return None, f"{error.message} {error.hint}"
    except ConfigurationError:
        return None, None
    return f"{agreement.federation}, {counted(len(agreement.members), 'label')}", None


def _sentence(account: Account) -> str:
    return (
        f"{account.epsilon:.3g} spent, {account.committed:.3g} including what open runs may still spend, "
        f"of {account.ceiling:g} at δ = {account.delta:g}; {account.remaining:.3g} remains"
    )


def _table(runs: list[RunAccount], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for name in ("run", "task", "state"):
        table.add_column(name)
    for name in ("rounds", "ε so far", "ε promised"):
        table.add_column(name, justify="right")
    for run in runs:
        what = f"{run.task}/{run.family}" if run.task else "unknown"
        rounds = f"{len(run.charged)} of {run.planned}" if run.planned else str(len(run.charged))
        promised = "none" if run.promised is None else f"{run.promised:g}"
        state = run.state + (f", {counted(len(run.declined), 'round')} declined" if run.declined else "")
        table.add_row(run.run[:SHORT], Text(what), state, rounds, f"{run.epsilon:.3g}", promised)
    return table


def _show_refusals(runs: list[RunAccount], title: str) -> None:
    table = Table("run", "when", "task", "why", title=title, title_justify="left")
    for run in runs:
        table.add_row(
            run.run[:SHORT], run.began, Text(f"{run.task}/{run.family}"), Text(run.why or _explained(run.reason))
        )
    results().print(table)
    for hint in dict.fromkeys(run.hint for run in runs if run.hint):
        say(results(), "Next", hint, "bold cyan")


def _gone_wrong(account: Account) -> list[RunAccount]:
    """The latest runs in which other labels lied to this one, are no longer asked, or had forgotten earlier runs."""
    return [run for run in account.runs if run.complained or run.left_out or run.put_back][-LATEST:]


def _labels_gone_wrong(runs: list[RunAccount]) -> Table:
    table = Table("run", "label", "what this label knows", title="Labels that went wrong", title_justify="left")
    for run in runs:
        for number, labels in run.complained:
            for label in labels:
                table.add_row(
                    run.run[:SHORT],
                    Text(label),
                    f"its share in round {number} was wrong: the label or the coordinator lied",
                )
        for label in run.left_out:
            table.add_row(run.run[:SHORT], Text(label), "left out of the run by the coordinator")
        for label, earlier in run.put_back.items():
            lacking = f"its ledger lacks run {earlier[:SHORT]}, so its home was put back: tell its people"
            table.add_row(run.run[:SHORT], Text(label), lacking)
    return table


def _without_tracks(number: int) -> str:
    since = f"since round {number}" if number else "since this label joined it"
    return f"has had no fitting track {since}: this label contributes only noise. {RESCAN}"


def _lowered(account: Account) -> list[RunAccount]:
    """Latest runs in an older version of the protocol than all members and the coordinator speak."""
    found = (run for run in account.runs if any(reason == RefusalReason.PROTOCOL for _, reason in run.declined))
    return list(found)[-LATEST:]


def _explained(reason: str) -> str:
    try:
        return RefusalReason(reason).explained
    except ValueError:
        return "unknown"


def _plain(run: RunAccount) -> dict[str, Any]:
    return {name: _finite(value) for name, value in asdict(run).items()}


def _lifetime(account: Account) -> dict[str, Any]:
    return {
        "delta": account.delta,
        "epsilon": _finite(account.epsilon),
        "committed": _finite(account.committed),
        "ceiling": _finite(account.ceiling),
        "remaining": _finite(account.remaining),
    }


def _finite(value: Any) -> Any:
    """Infinite numbers as text, since JSON has none."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _print_csv(account: Account) -> None:
    columns = ["run", "state", "began", "task", "family", "federation", "planned", "charged", "epsilon", "promised"]
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow([*columns, "reason"])
    for run in account.runs:
        values = {**asdict(run), "charged": len(run.charged)}
        out.writerow([*(values[name] for name in columns), run.reason])
