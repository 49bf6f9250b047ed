"""Which party fails × when × whether it returns: each cell ends in the survivors' exact sum, with correct ledgers."""

import errno
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

import pytest

from sottovoce.errors import RoundAborted
from sottovoce.protocol.aggregator import Sum
from sottovoce.protocol.messages import Message
from sottovoce.protocol.participant import Participant
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.rounds import local_round
from sottovoce_client.rounds import run_state as state_module
from sottovoce_client.rounds.run_state import RunStates

pytestmark = pytest.mark.slow

KILLED = 9
VICTIM = "label-2"

Arm = Callable[[], None]


def killed(owner: object, name: str, *, call: int = 1, after: bool = False) -> Arm:
    """The process ends as by SIGKILL at a call of `owner.name`: before it has done anything, or once it has."""

    def arm() -> None:
        original, calls = getattr(owner, name), 0

        def doomed(*arguments: object, **named: object) -> object:
            nonlocal calls
            calls += 1
            if calls != call:
                return original(*arguments, **named)
            if after:
                original(*arguments, **named)
            os._exit(KILLED)

        setattr(owner, name, doomed)

    return arm


@contextmanager
def disk_full(call: int) -> Iterator[None]:
    """The label's state does not fit the disk at its `call`-th save within a message."""
    write, calls = state_module.write_bytes, 0

    def full(*arguments: object, **named: object) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(*arguments, **named)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state_module, "write_bytes", full)
        yield


@contextmanager
def locked(home: LabelHome) -> Iterator[None]:
    """Another process holds the ledger for longer than a label waits."""
    rival = sqlite3.connect(home.ledger_file, isolation_level=None)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(Ledger.__init__.__kwdefaults__, "patience", 0.05)
            rival.execute("BEGIN EXCLUSIVE")
            yield
    finally:
        rival.close()


@contextmanager
def aside(home: LabelHome) -> Iterator[None]:
    """The ledger is missing, which must not be taken for an empty one."""
    hidden = home.root / "ledger.hidden"
    home.ledger_file.rename(hidden)
    try:
        yield
    finally:
        hidden.rename(home.ledger_file)


@contextmanager
def damaged(home: LabelHome) -> Iterator[None]:
    """A byte of the ledger has flipped."""
    whole = home.ledger_file.read_bytes()
    place = whole.rindex(b"open")
    home.ledger_file.write_bytes(whole[:place] + b"opfn" + whole[place + 4 :])
    try:
        yield
    finally:
        home.ledger_file.write_bytes(whole)


class Stage(StrEnum):
    """In which exchange a label fails."""

    JOIN = "join"
    REPORT = "report"
    CROSS_CHECK = "cross-check"
    UNMASK = "unmask"


class Back(StrEnum):
    """When it is there again."""

    AT_ONCE = "at once"  # and is asked the same again
    NEXT_ROUND = "next round"
    NEVER = "never"


@dataclass(frozen=True)
class Fault:
    """A fault that strikes a label in the first round.

    Args:
        name: name of the fault.
        stage: exchange in which it strikes.
        arm: kills the process that handles the message; or
        strike: lets it live, but fail.
        reply: whether the answer is made but lost.
        charged: whether the label has charged the round by then.
        again: whether it answers the repeated message: it has lost its state, or may start again.
    """

    name: str
    stage: Stage
    arm: Arm | None = None
    strike: Callable[[LabelHome], AbstractContextManager[None]] | None = None
    reply: bool = False
    charged: bool = True
    again: bool = False

    @property
    def joins(self) -> bool:
        """Whether the label takes part in the run afterwards, once it is back."""
        return self.stage is not Stage.JOIN or self.again


def full(call: int) -> Callable[[LabelHome], AbstractContextManager[None]]:
    return lambda home: disk_full(call)


FIRST = partial(Fault, charged=False, again=True)  # nothing has happened yet
FAULTS = (
    FIRST("off", Stage.JOIN),
    FIRST("killed before the promise", Stage.JOIN, killed(Ledger, "open_run")),
    FIRST("killed while it is written", Stage.JOIN, killed(Ledger, "_append", after=True)),
    FIRST("killed after the promise", Stage.JOIN, killed(Ledger, "open_run", after=True)),
    FIRST("disk full", Stage.JOIN, strike=full(1)),
    FIRST("ledger locked", Stage.JOIN, strike=locked),
    FIRST("ledger missing", Stage.JOIN, strike=aside),
    FIRST("killed after saving", Stage.JOIN, killed(RunStates, "save", after=True)),
    FIRST("answer lost", Stage.JOIN, reply=True),
    FIRST("off", Stage.REPORT),
    FIRST("killed before accepting", Stage.REPORT, killed(Participant, "accept")),
    FIRST("killed before saving that it accepted", Stage.REPORT, killed(RunStates, "save")),
    FIRST("disk full when it has followed", Stage.REPORT, strike=full(1)),
    FIRST("killed when it has followed", Stage.REPORT, killed(RunStates, "save_model", after=True)),
    FIRST("disk full when it accepts", Stage.REPORT, strike=full(2)),
    Fault("killed after accepting", Stage.REPORT, killed(RunStates, "save", after=True), charged=False),
    Fault("killed before the charge", Stage.REPORT, killed(Ledger, "charge"), charged=False),
    Fault("killed while it is written", Stage.REPORT, killed(Ledger, "_append", after=True), charged=False),
    Fault("ledger locked", Stage.REPORT, strike=locked, charged=False),
    Fault("ledger missing", Stage.REPORT, strike=aside, charged=False),
    Fault("ledger damaged", Stage.REPORT, strike=damaged, charged=False),
    Fault("killed after the charge", Stage.REPORT, killed(Ledger, "charge", after=True)),
    Fault("disk full after the charge", Stage.REPORT, strike=full(3)),
    Fault("killed before training", Stage.REPORT, killed(local_round, "update_of")),
    Fault("killed after training", Stage.REPORT, killed(local_round, "update_of", after=True)),
    Fault("killed when it has masked", Stage.REPORT, killed(Participant, "report", after=True)),
    Fault("disk full when it has masked", Stage.REPORT, strike=full(4)),
    Fault("killed before the report leaves", Stage.REPORT, killed(RunStates, "save", call=3, after=True)),
    Fault("report lost", Stage.REPORT, reply=True),
    Fault("off", Stage.CROSS_CHECK, again=True),
    Fault("killed before saving", Stage.CROSS_CHECK, killed(RunStates, "save"), again=True),
    Fault("disk full", Stage.CROSS_CHECK, strike=full(1), again=True),
    Fault("killed after saving", Stage.CROSS_CHECK, killed(RunStates, "save", after=True)),
    Fault("signature lost", Stage.CROSS_CHECK, reply=True),
    Fault("off", Stage.UNMASK, again=True),
    Fault("killed before saving", Stage.UNMASK, killed(RunStates, "save"), again=True),
    Fault("disk full", Stage.UNMASK, strike=full(1), again=True),
    Fault("killed after saving", Stage.UNMASK, killed(RunStates, "save", after=True)),
    Fault("shares lost", Stage.UNMASK, reply=True),
)


def ask(table: Any, label: str, message: Message, stage: Stage, fault: Fault | None, back: Back) -> Message | None:
    """One label's answer, if it reaches the coordinator."""
    if fault is None or stage is not fault.stage:
        return table.ask(label, message)
    if fault.arm is not None:
        assert table.ask_and_kill(label, message, fault.arm) == KILLED
    elif fault.strike is not None:
        with fault.strike(table.homes[label]):
            assert table.ask(label, message) is None
    elif fault.reply:
        assert table.ask(label, message) is not None
    if back is not Back.AT_ONCE:
        return None
    answer = table.ask(label, message)
    assert (answer is not None) == fault.again
    return answer


def announce(table: Any, faults: dict[str, Fault], back: Back) -> None:
    for label in table.homes:
        answer = ask(table, label, table.aggregator.announcement, Stage.JOIN, faults.get(label), back)
        if answer is not None:
            table.aggregator.receive(answer)
    table.set_up()


def play(table: Any, number: int, faults: dict[str, Fault], back: Back, away: set[str]) -> Sum:
    """One round. A label that failed stays silent until it is back."""
    aggregator, silent = table.aggregator, set(away)

    def exchange(stage: Stage, requests: dict[str, Message]) -> None:
        for label, message in requests.items():
            if label in silent:
                continue
            fault = faults.get(label)
            answer = ask(table, label, message, stage, fault, back)
            if answer is not None:
                aggregator.receive(answer)
            if fault and stage is fault.stage and back is not Back.AT_ONCE:
                silent.add(label)

    request = table.request(number, away)
    exchange(Stage.REPORT, dict.fromkeys(aggregator.participants, request))
    exchange(Stage.CROSS_CHECK, aggregator.close_reports())
    exchange(Stage.UNMASK, aggregator.close_cross_check())
    return aggregator.finish()


def check_ledgers(table: Any, expected: dict[str, list[int]]) -> None:
    """Every ledger holds the rounds that it must, once each, and no more ε than was promised."""
    for label in table.homes:
        assert table.charged(label) == expected[label], label
        promised = table.aggregator.adverts.get(label)
        assert table.spent(label) <= (promised.epsilon if promised else 0.0)


def check_replays(table: Any, labels: Collection[str]) -> None:
    """What was answered once is never answered again, and costs nothing; a non-member may still start again."""
    before = {label: table.charged(label) for label in table.homes}
    for label, message, answered in list(table.sent):
        if answered and label in labels and label in table.aggregator.session.members:
            assert table.ask(label, message) is None
    assert {label: table.charged(label) for label in table.homes} == before


def cells() -> Iterator[tuple[str, Fault, Back]]:
    """Every fault at once and, but for those of the join, a round later; what would only repeat others is left out.

    - A label that fails in the join and is not back at once is no member, whatever struck it and whenever it is back.
    - One that never comes back has gone through the same first round as one that is back in the next.
    - When reports are in, labels hold the same whichever noise is in them.
    """
    for fault in FAULTS:
        yield "local", fault, Back.AT_ONCE
        if fault.stage is Stage.REPORT:
            yield "banded", fault, Back.NEXT_ROUND
        elif fault.stage is not Stage.JOIN:
            yield "distributed", fault, Back.NEXT_ROUND
        if fault.name == "off" or fault.reply:
            yield "local", fault, Back.NEVER
            yield "distributed", fault, Back.NEXT_ROUND


CELLS = list(dict.fromkeys(cells()))


@pytest.mark.parametrize(
    ("noise", "fault", "back"),
    CELLS,
    ids=[f"{noise} noise, {fault.stage}: {fault.name}, back {back}" for noise, fault, back in CELLS],
)
def test_one_label_fails(a_table, noise, fault, back):
    table = a_table(noise, new=fault.stage is Stage.JOIN)
    labels = list(table.homes)
    if fault.stage is Stage.JOIN:
        announce(table, {VICTIM: fault}, back)
    here = back is Back.AT_ONCE or fault.stage is not Stage.JOIN
    assert (VICTIM in table.aggregator.adverts) == (here and fault.joins)

    first = play(table, 1, {VICTIM: fault}, back, set())
    reports = fault.stage in (Stage.CROSS_CHECK, Stage.UNMASK) or (back is Back.AT_ONCE and fault.again)
    assert first.survivors == tuple(label for label in labels if reports or label != VICTIM)
    assert table.exact(first)

    # Who is in a run is fixed before its first round.
    takes_part = here and fault.joins and back is not Back.NEVER
    second = play(table, 2, {}, back, set() if back is not Back.NEVER else {VICTIM})
    assert second.survivors == tuple(label for label in labels if takes_part or label != VICTIM)
    assert table.exact(second)

    of_victim = [1] * (reports or fault.charged) + [2] * takes_part
    check_ledgers(table, {label: of_victim if label == VICTIM else [1, 2] for label in labels})
    check_replays(table, {VICTIM, labels[0]})  # the others were asked the same


OFF = {stage: next(fault for fault in FAULTS if fault.stage is stage and fault.name == "off") for stage in Stage}
IN_ROUND = [
    *(("local", stage) for stage in (Stage.REPORT, Stage.CROSS_CHECK, Stage.UNMASK)),
    *((noise, Stage.REPORT) for noise in ("distributed", "banded")),
]


@pytest.mark.parametrize(("noise", "stage"), IN_ROUND)
def test_two_of_seven_labels_fail(a_table, noise, stage):
    table = a_table(noise, labels=7)
    labels, gone = list(table.homes), {"label-2", "label-5"}
    first = play(table, 1, dict.fromkeys(gone, OFF[stage]), Back.NEXT_ROUND, set())
    assert table.exact(first)
    assert set(first.survivors) == set(labels) - (gone if stage is Stage.REPORT else set())
    second = play(table, 2, {}, Back.NEVER, set())
    assert table.exact(second)
    assert second.survivors == tuple(labels)
    missed = gone if stage is Stage.REPORT else set()
    check_ledgers(table, {label: [2] if label in missed else [1, 2] for label in labels})
    check_replays(table, labels)


@pytest.mark.parametrize(("noise", "stage"), IN_ROUND)
def test_too_many_labels_fail(a_table, noise, stage):
    """A clean abort: no sum, charges stay, and the next round proceeds."""
    table = a_table(noise)
    labels, gone = list(table.homes), {"label-2", "label-5"}
    with pytest.raises(RoundAborted, match="Round 1: 3 of 5 labels"):
        play(table, 1, dict.fromkeys(gone, OFF[stage]), Back.NEXT_ROUND, set())
    second = play(table, 2, {}, Back.NEVER, set())
    assert table.exact(second)
    assert second.survivors == tuple(labels)
    missed = gone if stage is Stage.REPORT else set()
    check_ledgers(table, {label: [2] if label in missed else [1, 2] for label in labels})
    check_replays(table, labels)


@pytest.mark.parametrize(
    ("noise", "stage", "again"),
    [("local", Stage.JOIN, False), *((*each, again) for each in IN_ROUND for again in (False, True))],
)
def test_the_coordinator_dies(a_table, noise, stage, again):
    """It comes back with the announcement and the adverts; a round that it has forgotten it cannot have `again`."""
    table = a_table(noise)
    labels = list(table.homes)
    asked = stage is not Stage.JOIN
    if asked:
        request = table.request(1)
        for label in labels:
            table.aggregator.receive(table.ask(label, request))
    if stage in (Stage.CROSS_CHECK, Stage.UNMASK):
        for label, check in table.aggregator.close_reports().items():
            table.aggregator.receive(table.ask(label, check))
    if stage is Stage.UNMASK:
        for label, unmask in table.aggregator.close_cross_check().items():
            assert table.ask(label, unmask) is not None
    table.restart_coordinator()
    if again:
        with pytest.raises(RoundAborted, match="Round 1 would have 0 participants"):
            play(table, 1, {}, Back.NEVER, set())
    second = play(table, 2, {}, Back.NEVER, set())
    assert table.exact(second)
    assert second.survivors == tuple(labels)
    check_ledgers(table, dict.fromkeys(labels, [1, 2] if asked else [2]))
    check_replays(table, labels)
