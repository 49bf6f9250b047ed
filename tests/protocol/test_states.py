"""The table of transitions, and every wrong pair of state and message, on both sides."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from sottovoce.errors import LocalProtocolError
from sottovoce.federation.refusals import RefusalReason
from sottovoce.protocol.messages import (
    Advert,
    Announcement,
    Ciphertexts,
    CrossCheckRequest,
    CrossCheckSignature,
    Message,
    Nonces,
    Pairing,
    Preparation,
    PrepareRequest,
    Refusal,
    Report,
    ReportRequest,
    Reveal,
    Roster,
    Shares,
    UnmaskRequest,
)
from sottovoce.protocol.participant import Participant
from sottovoce.protocol.states import TRANSITIONS, Phase, after
from sottovoce.protocol.violations import OutOfOrder
from sottovoce_simulations.engine.in_process_rounds import InMemoryRounds

MESSAGES = (
    Announcement,
    Advert,
    Refusal,
    Roster,
    Reveal,
    Nonces,
    Ciphertexts,
    Pairing,
    Preparation,
    PrepareRequest,
    ReportRequest,
    Report,
    CrossCheckRequest,
    CrossCheckSignature,
    UnmaskRequest,
    Shares,
)
ASKED = (Roster, Nonces, Pairing, PrepareRequest, CrossCheckRequest, UnmaskRequest)
SAID = (Advert, Refusal, Reveal, Ciphertexts, Preparation, Report, CrossCheckSignature, Shares)
SAVED = (Phase.JOINED, Phase.REVEALED, Phase.KEYED, Phase.IDLE, Phase.REPORTING, Phase.REPORTED, Phase.CHECKED)
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
    """A set-up and a whole round, with both sides' states kept after each step, and every message that was sent."""

    def __init__(self) -> None:
        table = InMemoryRounds(3)
        self.table = table
        self.said: dict[type[Message], Message] = {Announcement: table.aggregator.announcement}
        self.label: dict[Phase, bytes] = {}
        self.coordinator = {Phase.INVITED: copy.deepcopy(table.aggregator)}
        joined = {
            label: Participant.join(
                table.aggregator.announcement,
                label=label,
                identity=identity,
                agreement=table.agreement,
                epsilon=8.0,
                delta=1e-5,
            )
            for label, identity in table.identities.items()
        }
        table.participants = {label: participant for label, (participant, _) in joined.items()}
        self._all({label: advert for label, (_, advert) in joined.items()}, Phase.JOINED)
        self._asked(table.aggregator.fix_members(), Phase.REVEALING, Phase.REVEALED)
        self._asked(table.aggregator.close_reveals(), Phase.ENCAPSULATING, Phase.KEYED)
        self._asked(table.aggregator.close_ciphertexts(), Phase.PREPARING, Phase.IDLE)
        self.said[Refusal] = Refusal.sign(
            table.identities[ME],
            run=table.aggregator.announcement.run,
            agreement=table.agreement.digest,
            label=ME,
            reason=RefusalReason.PRIVACY,
        )
        session = table.aggregator.session
        self.said[PrepareRequest] = PrepareRequest(session.run, session.digest, 7)
        request = table.request(1, 4)
        self.said[ReportRequest] = request
        for participant in table.participants.values():
            participant.accept(request, bytes(32))
        self._keep(Phase.REPORTING)
        self._all({label: p.report(np.ones(4, np.uint32)) for label, p in table.participants.items()}, Phase.REPORTED)
        self._asked(table.aggregator.close_reports(), Phase.CHECKING, Phase.CHECKED)
        unmasks = table.aggregator.close_cross_check()
        self.said[UnmaskRequest] = unmasks[ME]
        self.coordinator[Phase.UNMASKING] = copy.deepcopy(table.aggregator)
        self.said[Shares] = table.participants[ME].unmask(unmasks[ME])

    def _asked(self, requests: Mapping[str, Message], asked: Phase, answered: Phase) -> None:
        self.said[type(requests[ME])] = requests[ME]
        self.coordinator[asked] = copy.deepcopy(self.table.aggregator)
        participants = self.table.participants
        self._all({label: participants[label].answer(request) for label, request in requests.items()}, answered)

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
    match message:
        case Announcement():
            return participant.join_again(message)
        case ReportRequest():
            return participant.accept(message, bytes(32))
        case Report():
            return participant.report(np.ones(4, np.uint32))
    return participant.answer(message)


@pytest.mark.parametrize("phase", SAVED)
@pytest.mark.parametrize("message", [Announcement, ReportRequest, Report, *ASKED])
def test_out_of_order_at_a_label(phase: Phase, message: type[Message]) -> None:
    participant = STORY.participant(phase)
    before = participant.to_bytes()
    said = STORY.said[message]
    if message is ReportRequest and phase in (Phase.REPORTING, Phase.REPORTED, Phase.CHECKED):
        return  # a newer one may always come, and an old one is stale: see test_adversary
    if message in TRANSITIONS[phase]:
        reached, answer = TRANSITIONS[phase][message], hear(participant, said)
        answered = message in (*ASKED, Announcement)
        assert participant._stage.phase is (after(reached, type(answer)) if answered else reached)
    else:
        with pytest.raises(OutOfOrder):
            hear(participant, said)
        assert participant.to_bytes() == before


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.DECLINED])
@pytest.mark.parametrize("message", SAID)
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
    for message in SAID:
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


def test_a_label_knows_its_newest_round() -> None:
    table = InMemoryRounds(3, ring_bits=16)
    table.advertise()
    assert table.participants[ME].newest_round == 0
    table = InMemoryRounds(3, ring_bits=16)
    table.join()
    assert table.participants[ME].newest_round == 0
    table.report(table.request(4, 5), {label: np.zeros(5, np.uint16) for label in table.participants})
    assert table.participants[ME].newest_round == 4
