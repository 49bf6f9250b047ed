"""Faults planted in the product, each of which the simulation must find: what a plausible change could break."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.simulation import ledgers
from tests.simulation.simulation import BOTH, CORRELATED

import sottovoce.files as files
from sottovoce.errors import LedgerError
from sottovoce.privacy.events import merged
from sottovoce.protocol import aggregator as aggregator_module
from sottovoce.protocol.aggregator import Aggregator
from sottovoce.protocol.participant import Participant
from sottovoce.release import write as write_module
from sottovoce_client.budget import ledger as ledger_module
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.budget.rows import Kind, events_of
from sottovoce_client.rounds import run_state as run_state_module
from sottovoce_client.rounds.label import Label
from sottovoce_client.rounds.run_state import RunStates
from sottovoce_client.rounds.trainer import Trainer
from sottovoce_server.flower import deployed_coordinator
from sottovoce_server.home import journal as journal_module
from sottovoce_server.home import log_file as log_file_module
from sottovoce_server.home.journal import Journal
from sottovoce_server.rounds import automatic_resumption

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Planted:
    """A fault.

    Args:
        what: in words.
        plant: puts it into the product.
        state: prepared state from which it is found soonest.
        label: whether histories of one label find it.
        seed: where the search begins: the first schedule that found it when this was written.
    """

    what: str
    plant: Plant
    state: str
    label: bool = False
    seed: int = 0


def _run_before_journal(patch: pytest.MonkeyPatch) -> None:
    begin = deployed_coordinator._Notes.begin
    patch.setattr(deployed_coordinator._Notes, "begin", lambda notes, order: order.resume and begin(notes, order))


def _release_not_logged(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(log_file_module, "write_bytes", lambda path, data, **options: None)


def _no_flush(patch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def written(path: Path) -> Iterator[Path]:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.parent / f".{path.stem}.{os.getpid()}.unflushed{path.suffix}"
        try:
            yield aside
            aside.replace(path)
        finally:
            with suppress(FileNotFoundError):
                aside.unlink()

    patch.setattr(files, "written_aside", written)


def _answered_again(patch: pytest.MonkeyPatch) -> None:
    report, charge = Trainer.report, Trainer._charge

    def forgetful(trainer: Trainer, *arguments: Any) -> Any:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(RunStates, "save", lambda *_: None)
            return report(trainer, *arguments)

    def again(trainer: Trainer, *arguments: Any) -> None:
        with suppress(LedgerError):
            charge(trainer, *arguments)

    patch.setattr(Trainer, "report", forgetful)
    patch.setattr(Trainer, "_charge", again)


def _charged_later(patch: pytest.MonkeyPatch) -> None:
    charge, follow = Ledger.charge, Label._follow
    owed: list[tuple[Any, ...]] = []

    def later(label: Label, request: Any) -> Any:
        answer = follow(label, request)
        while owed:
            with Ledger(label.home.ledger_file) as ledger, suppress(LedgerError):
                charge(ledger, *owed.pop())
        return answer

    patch.setattr(Ledger, "charge", lambda ledger, *charged: owed.append(charged))
    patch.setattr(Label, "_follow", later)


def _failed_charge(patch: pytest.MonkeyPatch) -> None:
    charge = Ledger.charge

    def tried(ledger: Ledger, *charged: Any) -> None:
        with suppress(LedgerError):
            charge(ledger, *charged)

    patch.setattr(Ledger, "charge", tried)


def _shares_again(patch: pytest.MonkeyPatch) -> None:
    unmask = Participant.unmask

    def kept(participant: Participant, request: Any) -> Any:
        before = participant._stage
        answer = unmask(participant, request)
        participant._stage = before
        return answer

    patch.setattr(Participant, "unmask", kept)


def _masks_of_the_dropped(patch: pytest.MonkeyPatch) -> None:
    real = aggregator_module.masks_left

    def left(opening: Any, *more: Any) -> Any:
        added, _ = real(opening, *more)
        return added[: len(opening.survivors)], []

    patch.setattr(aggregator_module, "masks_left", left)


def _second_manifest(patch: pytest.MonkeyPatch) -> None:
    def written(self: Any, provenance: Any, outcome: Any) -> Any:
        identity, folder = self._home.identity(), self._folder.release
        return write_module.write(folder, provenance, outcome.parameters, identity, name=self._order.name, replace=True)

    patch.setattr(deployed_coordinator._Run, "_written", written)


def _promise_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Label, "_leave", lambda label, run, **_: label._opened.states.forget(run))


def _ledger_does_not_wait(patch: pytest.MonkeyPatch) -> None:
    execute = ledgers.Connection.execute

    def quick(connection: Any, statement: str, values: tuple[Any, ...] = ()) -> Any:
        return execute(connection, statement.replace("= EXTRA", "= OFF"), values)

    patch.setattr(ledgers.Connection, "execute", quick)


def _ordered_by_clock(patch: pytest.MonkeyPatch) -> None:
    def last(journal: Journal) -> Any:
        return max(journal._entries(), key=lambda entry: (entry.time, entry.number), default=None)

    patch.setattr(Journal, "_last", last)


def _reply_added_twice(patch: pytest.MonkeyPatch) -> None:
    receive = Aggregator._receive_report

    def added(aggregator: Aggregator, report: Any) -> None:
        phase = aggregator._phases[report.label]
        receive(aggregator, report)
        again = aggregator._gathering.reports  # type: ignore[union-attr]
        if report.label in again:
            aggregator._phases[report.label] = phase

    def closing(aggregator: Aggregator, real: Any = Aggregator.close_reports) -> Any:
        for label in aggregator._gathering.reports:  # type: ignore[union-attr]
            aggregator._phases[label] = aggregator_module.Phase.REPORTED
        return real(aggregator)

    patch.setattr(Aggregator, "_receive_report", added)
    patch.setattr(Aggregator, "close_reports", closing)


def _half_a_line(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(journal_module, "cut_unfinished_line", lambda path: b"")


def _leftovers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(deployed_coordinator, "clear_asides", lambda folder: None)


def _sums_forgotten(patch: pytest.MonkeyPatch) -> None:
    save = RunStates.save
    patch.setattr(RunStates, "save", lambda states, run, state: save(states, run, replace(state, sums={})))


def _open_runs_not_counted(patch: pytest.MonkeyPatch) -> None:
    def charged(rows: Any) -> Any:
        return merged(events_of(row for row in rows if row.kind is Kind.CHARGE))

    patch.setattr(ledger_module, "committed_by", charged)


def _publishing_not_resumed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(automatic_resumption, "AT_WORK", ("waiting", "training"))


def _resumption_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(automatic_resumption, "SUBMITTED", "no state")


def _keys_come_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(run_state_module, "flush_folder", lambda folder: None)


PLANTED = (
    Planted("a run begins before the journal says so", _run_before_journal, "new"),
    Planted("a release is shown before it is in the log", _release_not_logged, "trained"),
    Planted("files are renamed before they are flushed", _no_flush, "after the last round", seed=5),
    Planted("a label forgets that it answered a round", _answered_again, "joined", label=True, seed=40),
    Planted("a round is charged once it is unmasked", _charged_later, "joined", label=True),
    Planted("a charge that fails is passed over", _failed_charge, "joined", label=True, seed=295),
    Planted("shares can be asked for again", _shares_again, "joined", label=True),
    Planted("masks of labels that dropped out stay in the sum", _masks_of_the_dropped, "after the first round", seed=2),
    Planted("a resumed run writes another release", _second_manifest, "trained", seed=21),
    Planted("the end of a run does not free its promise", _promise_kept, "joined", label=True),
    Planted("the ledger does not wait for the disk", _ledger_does_not_wait, "after the last round", seed=6),
    Planted(
        "the journal's newest line is the one with the latest time", _ordered_by_clock, "after the last round", seed=20
    ),
    Planted("a reply that arrives twice is added twice", _reply_added_twice, "after the first round", seed=123),
    Planted("half a line stays in the journal", _half_a_line, "trained", seed=21),
    Planted("a killed process' temporary file stays in the release", _leftovers, "trained", seed=28),
    Planted("a label forgets sums that later noise is correlated with", _sums_forgotten, CORRELATED),
    Planted("promises of open runs are not counted", _open_runs_not_counted, BOTH, seed=9),
    Planted("a run that was publishing is not resumed", _publishing_not_resumed, "trained"),
    Planted("a resumption that broke off is lost", _resumption_lost, "after the first round"),
    Planted("a power cut brings back the key of a run that is over", _keys_come_back, "after the last round", seed=6),
)
