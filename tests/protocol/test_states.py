"""The table of transitions, and every wrong pair of state and message, on both sides."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from sottovoce.errors import LocalProtocolError
from sottovoce.federation.refusals import RefusalReason
from sottovoce.protocol.messages import (
    Advert,
    CrossCheckRequest,
    CrossCheckSignature,
    Message,
    Refusal,
    Report,
    ReportRequest,
    Shares,
    UnmaskRequest,
)
from sottovoce.protocol.participant import Participant
from sottovoce.protocol.states import TRANSITIONS, Phase, after
from sottovoce.protocol.violations import OutOfOrder
from sottovoce_simulations.engine.in_process_rounds import InMemoryRounds

MESSAGES = (
    Advert,
    Refusal,
    ReportRequest,
    Report,
    CrossCheckRequest,
    CrossCheckSignature,
    UnmaskRequest,
    Shares,
)
ASKED = (CrossCheckRequest, UnmaskRequest)
ME = "label-000"


def test_every_phase_has_its_row_and_can_be_reached() -> None:
    assert set(TRANSITIONS) == set(Phase)
    reached = {Phase.INVITED} | {target for row in TRANSITIONS.values() for target in row.values()}
    assert reached == set(Phase)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("message", MESSAGES)
def test_a_pair_leads_on_or_is_out_of_order(phase: Phase, message: type[Message]) -> None:
    if message in TRANSITIONS[phase]:
        assert after(phase, message) is TRANSITIONS[phase][message]
    else:
        with pytest.raises(OutOfOrder, match=message.__name__):
            after(phase, message)


class Story:
    """One whole round, with both sides' states kept after each step, and every message that was sent."""

    def __init__(self) -> None:
        table = InMemoryRounds(3)
        self.coordinator = {Phase.INVITED: copy.deepcopy(table.aggregator)}
        table.join()
        self.table = table
        self.said: dict[type[Message], Message] = {Advert: table.participants[ME].advert}
        self.label: dict[Phase, bytes] = {Phase.IDLE: self._mine()}
        self.coordinator[Phase.IDLE] = copy.deepcopy(table.aggregator)
        self.said[Refusal] = Refusal.sign(
            table.identities[ME],
            run=table.aggregator.announcement.run,
            agreement=table.agreement.digest,
            label=ME,
            reason=RefusalReason.PRIVACY,
        )
        request = table.request(7, 4)
        self.said[ReportRequest] = request
        for participant in table.participants.values():
            participant.accept(request, bytes(32))
        self._keep(Phase.REPORTING)
        self._all({label: p.report(np.ones(4, np.uint32)) for label, p in table.participants.items()}, Phase.REPORTED)
        checks = table.aggregator.close_reports()
        self.said[CrossCheckRequest] = checks[ME]
        self.coordinator[Phase.CHECKING] = copy.deepcopy(table.aggregator)
        self._all(
            {label: table.participants[label].cross_check(check) for label, check in checks.items()}, Phase.CHECKED
        )
        unmasks = table.aggregator.close_cross_check()
        self.said[UnmaskRequest] = unmasks[ME]
        self.coordinator[Phase.UNMASKING] = copy.deepcopy(table.aggregator)
        self.said[Shares] = table.participants[ME].unmask(unmasks[ME])

    def _mine(self) -> bytes:
        return self.table.participants[ME].to_bytes()

    def _keep(self, phase: Phase) -> None:
        self.label[phase] = self._mine()
        self.coordinator[phase] = copy.deepcopy(self.table.aggregator)

    def _all(self, answers: Mapping[str, Message], phase: Phase) -> None:
        self.said[type(answers[ME])] = answers[ME]
        for answer in answers.values():
            self.table.aggregator.receive(answer)
        self._keep(phase)

    def participant(self, phase: Phase) -> Participant:
        table = self.table
        return Participant.from_bytes(self.label[phase], identity=table.identities[ME], agreement=table.agreement)


STORY = Story()


def hear(participant: Participant, message: Message) -> Any:
    steps: dict[type[Message], Callable[[], object]] = {
        ReportRequest: lambda: participant.accept(message, bytes(32)),  # type: ignore[arg-type]
        Report: lambda: participant.report(np.ones(4, np.uint32)),
        CrossCheckRequest: lambda: participant.cross_check(message),  # type: ignore[arg-type]
        UnmaskRequest: lambda: participant.unmask(message),  # type: ignore[arg-type]
    }
    return steps[type(message)]()


@pytest.mark.parametrize("phase", [Phase.IDLE, Phase.REPORTING, Phase.REPORTED, Phase.CHECKED])
@pytest.mark.parametrize("message", [ReportRequest, Report, CrossCheckRequest, UnmaskRequest])
def test_out_of_order_at_a_label(phase: Phase, message: type[Message]) -> None:
    participant = STORY.participant(phase)
    before = participant.to_bytes()
    said = STORY.said[message]
    if message is ReportRequest:
        if phase is Phase.IDLE:
            hear(participant, said)
        return  # a newer one may always come, and an old one is stale: see test_adversary
    if message in TRANSITIONS[phase]:
        reached, answer = TRANSITIONS[phase][message], hear(participant, said)
        assert participant._progress.phase is (after(reached, type(answer)) if message in ASKED else reached)
    else:
        with pytest.raises(OutOfOrder):
            hear(participant, said)
        assert participant.to_bytes() == before


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.DECLINED])
@pytest.mark.parametrize("message", [Advert, Refusal, Report, CrossCheckSignature, Shares])
def test_out_of_order_at_the_coordinator(phase: Phase, message: type[Message]) -> None:
    aggregator = copy.deepcopy(STORY.coordinator[phase])
    said = STORY.said[message]
    if message in TRANSITIONS[phase]:
        aggregator.receive(said)
    with pytest.raises(OutOfOrder):
        aggregator.receive(said)


def test_a_label_that_declined_says_nothing_more() -> None:
    aggregator = copy.deepcopy(STORY.coordinator[Phase.INVITED])
    aggregator.receive(STORY.said[Refusal])
    assert aggregator.refusals == {ME: RefusalReason.PRIVACY}
    for message in (Advert, Refusal, Report, CrossCheckSignature, Shares):
        with pytest.raises(OutOfOrder):
            aggregator.receive(STORY.said[message])


@pytest.mark.parametrize("step", ["close_reports", "close_cross_check", "finish"])
def test_the_coordinator_cannot_close_what_is_not_open(step: str) -> None:
    with pytest.raises(LocalProtocolError, match="under way"):
        getattr(copy.deepcopy(STORY.coordinator[Phase.IDLE]), step)()


@pytest.mark.parametrize(
    ("phase", "step"),
    [
        (Phase.REPORTED, "close_cross_check"),
        (Phase.REPORTED, "finish"),
        (Phase.CHECKING, "close_reports"),
        (Phase.CHECKED, "finish"),
        (Phase.UNMASKING, "close_reports"),
        (Phase.UNMASKING, "close_cross_check"),
    ],
)
def test_a_step_that_is_skipped_or_repeated_leaves_the_round_as_it_is(phase: Phase, step: str) -> None:
    aggregator = copy.deepcopy(STORY.coordinator[phase])
    with pytest.raises(LocalProtocolError, match="does not follow"):
        getattr(aggregator, step)()
    assert aggregator.participants
