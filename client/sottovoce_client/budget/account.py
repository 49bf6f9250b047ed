"""A label's account in one value: each run, what it spent, what is reserved, and what remains."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sottovoce.errors import ConfigurationError
from sottovoce_client.budget.known_heads import open_ledger
from sottovoce_client.budget.rows import Kind, Row
from sottovoce_client.home.diary import What
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.policy import Policy


@dataclass(frozen=True)
class RunAccount:
    """One run, for the label's own people.

    Args:
        run: the run's id, hexadecimal.
        state: `open`, `closed` or `refused`.
        began: UTC, ISO 8601.
        task: the run's task; empty if the diary does not know it, as for the next three.
        family: the model's family.
        federation: the federation's name.
        planned: number of planned rounds.
        charged: numbers of the charged rounds.
        epsilon: ε of the charged rounds, at the policy's δ.
        promised: the ε that the label published for the whole run; None without privacy, or if unknown.
        reason: the reason for declining it that was sent to the coordinator.
        why: details of the reason, and `hint`: what to do, if the label noted them.
        hint: see `why`.
        declined: declined rounds of it: (number, reason).
        complained: labels whose shares for this one were wrong, through them or the coordinator: (round, labels).
        left_out: labels that the coordinator no longer asks, in its latest request.
        put_back: labels whose homes were put back, each with the run (hex) that their ledgers lack since.
        protocol: version of the protocol that the run uses; 0 if the diary does not know it.
        no_tracks: the first round that no track of the catalogue fits (0: on joining); None if there is none.
        ended: why a closed run ended; empty if the label's people closed it, or the diary does not know.
    """

    run: str
    state: str
    began: str
    task: str = ""
    family: str = ""
    federation: str = ""
    planned: int = 0
    charged: tuple[int, ...] = ()
    epsilon: float = 0.0
    promised: float | None = None
    reason: str = ""
    why: str = ""
    hint: str = ""
    declined: tuple[tuple[int, str], ...] = ()
    complained: tuple[tuple[int, tuple[str, ...]], ...] = ()
    left_out: tuple[str, ...] = ()
    put_back: Mapping[str, str] = field(default_factory=dict)
    protocol: int = 0
    no_tracks: int | None = None
    ended: str = ""


@dataclass(frozen=True)
class Account:
    """All of a label's runs, oldest first.

    Args:
        runs: joined runs, and declined ones.
        delta: the policy's δ.
        epsilon: ε of all charges ever, at this δ.
        committed: ε of all charges and of all that open runs may still charge.
        ceiling: the policy's lifetime ε.
    """

    runs: tuple[RunAccount, ...] = field(default=())
    delta: float = 0.0
    epsilon: float = 0.0
    committed: float = 0.0
    ceiling: float = 0.0

    @property
    def remaining(self) -> float:
        """Lifetime ε that is neither spent nor reserved. A run may get slightly more, since ε does not simply add."""
        return max(0.0, self.ceiling - self.committed)


def account_of(home: LabelHome) -> Account:
    """Read ledger, diary and policy.

    Raises:
        LedgerError: the ledger cannot be read or was tampered with.
        ConfigurationError: the policy cannot be read.
    """
    policy = Policy.from_toml(home.policy_file)
    with open_ledger(home) as ledger:
        rows = ledger.rows()
        spent = {run: ledger.epsilon_in(run, policy.delta_max) for run in dict.fromkeys(row.run for row in rows)}
        total, committed = ledger.epsilon(policy.delta_max), ledger.committed(policy.delta_max)
    runs = _joined(home, rows, spent) + _refused(home, {row.run.hex() for row in rows})
    runs.sort(key=lambda run: run.began)
    return Account(tuple(runs), policy.delta_max, total, committed, policy.epsilon_lifetime)


def run_of(account: Account, beginning: str) -> RunAccount:
    """The one run whose id starts with `beginning`.

    Raises:
        ConfigurationError: there is none, or several.
    """
    found = [run for run in account.runs if run.run.startswith(beginning.lower()) and run.state != "refused"]
    if len(found) != 1:
        many = "more than one run" if found else "no joined run"
        raise ConfigurationError(f"There is {many} whose id starts with '{beginning}'.", hint="sottovoce label ledger")
    return found[0]


def _joined(home: LabelHome, rows: tuple[Row, ...], spent: dict[bytes, float]) -> list[RunAccount]:
    notes = home.diary.notes()
    about = {note.run: note.details for note in notes if note.what is What.JOINED}
    of_run: dict[tuple[str, What], list[dict[str, Any]]] = {}
    for note in notes:
        of_run.setdefault((note.run, note.what), []).append(note.details)
    accounts = []
    for run, epsilon in spent.items():
        mine = [row for row in rows if row.run == run]
        known = about.get(run.hex(), {})
        declined, complained, left_out, put_back, no_tracks = (
            of_run.get((run.hex(), what), [])
            for what in (What.ROUND_DECLINED, What.COMPLAINED, What.LEFT_OUT, What.PUT_BACK, What.NO_TRACKS)
        )
        promised = known.get("epsilon")
        accounts.append(
            RunAccount(
                run=run.hex(),
                state="closed" if mine[-1].kind is Kind.CLOSE else "open",
                began=mine[0].time,
                task=_printable(known.get("task", "")),
                family=_printable(known.get("family", "")),
                federation=_printable(known.get("federation", "")),
                planned=_int(known.get("rounds")),
                charged=tuple(row.round for row in mine if row.kind is Kind.CHARGE),
                epsilon=epsilon,
                promised=promised if isinstance(promised, float) else None,
                declined=tuple((_int(each.get("round")), str(each.get("reason"))) for each in declined),
                complained=tuple((_int(each.get("round")), _names(each)) for each in complained),
                left_out=_names(left_out[-1]) if left_out else (),
                put_back=_runs(put_back[-1]) if put_back else {},
                protocol=_int(known.get("protocol")),
                no_tracks=_int(no_tracks[0].get("round")) if no_tracks else None,
                ended=_ended(of_run, run.hex()),
            )
        )
    return accounts


def _ended(of_run: Mapping[tuple[str, What], list[dict[str, Any]]], run: str) -> str:
    """Why a run is over, for people."""
    for details in of_run.get((run, What.CLOSED), []):
        return _printable(details.get("why", ""))
    for details in of_run.get((run, What.OVER), []):
        return f"it was over after round {_int(details.get('after'))}"
    return ""


def _refused(home: LabelHome, joined: set[str]) -> list[RunAccount]:
    return [
        RunAccount(
            run=note.run,
            state="refused",
            began=note.time,
            task=_printable(note.details.get("task", "")),
            family=_printable(note.details.get("family", "")),
            planned=_int(note.details.get("rounds")),
            reason=_printable(note.details.get("reason", "")),
            why=_printable(note.details.get("why", "")),
            hint=_printable(note.details.get("hint", "")),
        )
        for note in home.diary.notes()
        if note.what is What.REFUSED and note.run not in joined
    ]


def _printable(value: object) -> str:
    """Text for a terminal: diaries of earlier versions contain unchecked text from coordinators."""
    return "".join(character if character.isprintable() else "?" for character in str(value))


def _names(details: dict[str, Any]) -> tuple[str, ...]:
    labels = details.get("labels")
    return tuple(label for label in labels if isinstance(label, str)) if isinstance(labels, list) else ()


def _runs(details: dict[str, Any]) -> dict[str, str]:
    runs = details.get("runs")
    return {label: _printable(run) for label, run in runs.items()} if isinstance(runs, dict) else {}


def _int(value: object) -> int:
    return value if type(value) is int else 0
