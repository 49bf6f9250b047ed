"""Messages that the coordinator refuses from a label without harm to the round, and calls that it refuses."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from sottovoce.errors import LocalProtocolError, RemoteProtocolError, RoundAborted
from sottovoce.federation.identity import Identity
from sottovoce.federation.refusals import RefusalReason
from sottovoce.protocol import violations
from sottovoce.protocol.aggregator import Aggregator
from sottovoce.protocol.messages import (
    Advert,
    Announcement,
    Complaint,
    CrossCheckRequest,
    CrossCheckSignature,
    Kind,
    Message,
    Preparation,
    PrepareRequest,
    Refusal,
    Report,
    Shares,
    UnmaskRequest,
    decode,
)
from sottovoce.protocol.participant import Participant
from sottovoce_simulations.engine.in_process_rounds import InMemoryRounds, plain_config
from sottovoce_simulations.engine.label_dropouts import Moment

MakeTable = Callable[..., InMemoryRounds]
ELEMENTS = 4


def signed(table: InMemoryRounds, message: Report | Shares | Advert | Preparation, **changes: object) -> Message:
    """The message changed, and signed again by its label: what a corrupt label could send."""
    fields = {name: getattr(message, name) for name in message.__dataclass_fields__ if name not in ("TYPE", "PURPOSE")}
    fields.pop("signature")
    return type(message).sign(table.identities[message.label], **{**fields, **changes})


@pytest.fixture
def table(make_table: MakeTable) -> InMemoryRounds:
    return make_table(4)


def one_report(table: InMemoryRounds) -> Report:
    """The report of `label-000`, while all others have reported."""
    request = table.request(1, ELEMENTS)
    for participant in table.participants.values():
        participant.accept(request, bytes(32))
    reports = {label: p.report(np.ones(ELEMENTS, np.uint32)) for label, p in table.participants.items()}
    for label, report in reports.items():
        if label != "label-000":
            table.aggregator.receive(report)
    return reports["label-000"]


def refused(table: InMemoryRounds, error: type[RemoteProtocolError], message: Message) -> None:
    gathering = table.aggregator._gathering
    before = None if gathering is None else gathering.total.copy()
    with pytest.raises(RemoteProtocolError) as caught:
        table.aggregator.receive(message)
    assert type(caught.value) is error
    if gathering is not None and before is not None:
        assert np.array_equal(gathering.total, before)


def test_a_wrong_report_is_as_good_as_none(table: InMemoryRounds) -> None:
    report = one_report(table)
    following = report.following
    for error, changed in (
        (violations.WrongRun, signed(table, report, run=bytes(16))),
        (violations.WrongRound, signed(table, report, round=2)),
        (violations.WrongRound, signed(table, report, request=bytes(32))),
        (violations.WrongVector, signed(table, report, ring_bits=16)),
        (violations.WrongVector, signed(table, report, vector=bytes(4 * ELEMENTS - 4))),
        (violations.WrongVector, signed(table, report, vector=bytes(4 * ELEMENTS + 4))),
        (violations.WrongBoxes, signed(table, report, boxes=report.boxes[1:])),
        (violations.WrongBoxes, signed(table, report, boxes=(report.boxes[0], *report.boxes))),
        (violations.WrongRound, signed(table, report, following=signed(table, following, round=3))),
        (violations.WrongSession, signed(table, report, following=signed(table, following, session=bytes(32)))),
        (violations.WrongBoxes, signed(table, report, following=signed(table, following, tags=following.tags[1:]))),
        (violations.WrongBoxes, signed(table, report, following=signed(table, following, boxes=following.boxes[1:]))),
        (violations.WrongBoxes, signed(table, report, following=signed(table, following, vault=bytes(80)))),
        (violations.BadSignature, signed(table, report, following=replace(following, commitment=bytes(32)))),
        (violations.BadSignature, replace(report, vector=bytes(4 * ELEMENTS))),
        (violations.BadSignature, replace(report, signature=bytes(64))),
        (violations.OutOfOrder, replace(report, label="label-001")),
        (violations.NotAParticipant, replace(report, label="label-099")),
    ):
        refused(table, error, changed)
    total = table.unmask()
    assert total.survivors == ("label-001", "label-002", "label-003")
    assert total.vector.tolist() == [3] * ELEMENTS


def test_a_report_prepares_its_label_for_the_next_round(table: InMemoryRounds) -> None:
    table.report(table.request(1, ELEMENTS), {label: np.ones(ELEMENTS, np.uint32) for label in table.participants})
    assert table.aggregator.ready(2) == tuple(table.participants)
    assert table.aggregator.prepare_requests(2) == {}


def test_a_report_counts_once_and_not_late(table: InMemoryRounds) -> None:
    report = one_report(table)
    table.aggregator.receive(report)
    refused(table, violations.OutOfOrder, report)
    table.aggregator.close_reports()
    refused(table, violations.OutOfOrder, report)


def test_a_late_report_is_out_of_order(table: InMemoryRounds) -> None:
    report = one_report(table)
    table.aggregator.close_reports()
    refused(table, violations.OutOfOrder, report)


def test_a_report_of_the_round_before_is_refused(table: InMemoryRounds) -> None:
    report = one_report(table)
    table.request(2, ELEMENTS)
    refused(table, violations.WrongRound, report)


def test_nobody_speaks_for_another(table: InMemoryRounds) -> None:
    """A report with another label's name on it is not signed by that label."""
    request = table.request(1, ELEMENTS)
    mine = table.participants["label-000"]
    mine.accept(request, bytes(32))
    report = mine.report(np.ones(ELEMENTS, np.uint32))
    following = replace(report.following, label="label-001")
    refused(table, violations.BadSignature, replace(report, label="label-001", following=following))


def checks(table: InMemoryRounds) -> dict[str, CrossCheckSignature]:
    table.aggregator.receive(one_report(table))
    answers = {}
    for label, check in table.aggregator.close_reports().items():
        assert isinstance(check, CrossCheckRequest)
        answers[label] = table.participants[label].cross_check(check)
    return answers


def test_a_signature_on_something_else_is_refused(table: InMemoryRounds) -> None:
    answers = checks(table)
    mine, other = answers["label-000"], answers["label-001"]
    refused(table, violations.WrongRun, replace(mine, run=bytes(16)))
    refused(table, violations.WrongRound, replace(mine, round=2))
    refused(table, violations.BadSignature, replace(mine, signature=other.signature))
    refused(table, violations.BadSignature, replace(mine, label="label-002"))
    refused(table, violations.NotAParticipant, replace(mine, label="label-099"))
    table.aggregator.receive(mine)
    refused(table, violations.OutOfOrder, mine)


def test_wrong_shares_are_as_good_as_none(make_table: MakeTable) -> None:
    table = make_table(5)
    answers = checks(table)
    for answer in answers.values():
        table.aggregator.receive(answer)
    requests = table.aggregator.close_cross_check()
    shares = {label: table.participants[label].unmask(request) for label, request in requests.items()}
    mine = shares.pop("label-000")
    for error, changed in (
        (violations.WrongRun, signed(table, mine, run=bytes(16))),
        (violations.WrongRound, signed(table, mine, round=2)),
        (violations.WrongRound, signed(table, mine, survivors_digest=bytes(32))),
        (violations.WrongShares, signed(table, mine, values=mine.values[:-1])),
        (violations.WrongShares, signed(table, mine, complaints=(Complaint("label-001", bytes(32)),))),
        (
            violations.WrongShares,
            signed(table, mine, values=mine.values[1:], complaints=(Complaint("label-000", bytes(32)),)),
        ),
        (violations.BadSignature, replace(mine, values=(bytes(32), *mine.values[1:]))),
        (violations.BadSignature, replace(mine, label="label-001")),
        (violations.NotAParticipant, replace(mine, label="label-099")),
    ):
        refused(table, error, changed)
    of_all = signed(
        table, mine, values=(), complaints=tuple(Complaint(label, bytes(32)) for label in table.participants)
    )
    refused(table, violations.WrongShares, of_all)
    for answer in shares.values():
        table.aggregator.receive(answer)
    refused(table, violations.OutOfOrder, shares["label-001"])
    assert table.aggregator.finish().vector.tolist() == [5] * ELEMENTS


def test_a_holder_may_complain_of_every_other_label(make_table: MakeTable) -> None:
    table = make_table(5)
    for answer in checks(table).values():
        table.aggregator.receive(answer)
    shares = {label: table.participants[label].unmask(r) for label, r in table.aggregator.close_cross_check().items()}
    mine = shares.pop("label-000")
    complaints = tuple(Complaint(label, bytes(32)) for label in shares)
    table.aggregator.receive(signed(table, mine, values=mine.values[:1], complaints=complaints))
    for answer in shares.values():
        table.aggregator.receive(answer)
    assert table.aggregator.finish().vector.tolist() == [5] * ELEMENTS


def test_answers_to_the_announcement_are_checked(make_table: MakeTable) -> None:
    table = InMemoryRounds(4)
    assert table.aggregator.liars == {}
    participant, advert = Participant.join(
        table.aggregator.announcement,
        label="label-000",
        identity=table.identities["label-000"],
        agreement=table.agreement,
        epsilon=8.0,
        delta=1e-5,
    )
    config = plain_config(32).changed(epsilon=9.0)
    for error, changed in (
        (violations.WrongRun, signed(table, advert, run=bytes(16))),
        (violations.WrongAgreement, signed(table, advert, agreement=bytes(32))),
        (violations.ConfigurationChanged, signed(table, advert, config_digest=config.digest)),
        (violations.BadKey, signed(table, advert, public_key=bytes(32))),
        (
            violations.BadKey,
            signed(table, advert, public_key=advert.public_key[:-1] + bytes([advert.public_key[-1] | 128])),
        ),
        (violations.BadKey, signed(table, advert, encapsulation_key=b"\xff" * 1184)),
        (violations.BadSignature, replace(advert, epsilon=7.0)),
        (violations.BadSignature, replace(advert, label="label-001")),
        (violations.UnknownLabel, replace(advert, label="label-099")),
    ):
        refused(table, error, changed)
    table.aggregator.receive(advert)
    refused(table, violations.OutOfOrder, advert)
    other = fresh_advert(table, "label-001")
    for name in ("public_key", "encapsulation_key"):
        refused(table, violations.DuplicateParticipant, signed(table, other, **{name: getattr(advert, name)}))
    assert table.aggregator.adverts == {"label-000": advert}
    assert participant.advert == advert


def test_refusals_are_checked_like_adverts(make_table: MakeTable) -> None:
    """Otherwise anybody could keep a label out of the run."""
    table = InMemoryRounds(4)
    values = {
        "run": table.aggregator.announcement.run,
        "agreement": table.agreement.digest,
        "label": "label-000",
        "reason": RefusalReason.PRIVACY,
    }
    mine, other = table.identities["label-000"], table.identities["label-001"]
    for error, changed in (
        (violations.WrongRun, Refusal.sign(mine, **{**values, "run": bytes(16)})),
        (violations.WrongAgreement, Refusal.sign(mine, **{**values, "agreement": bytes(32)})),
        (violations.BadSignature, Refusal.sign(other, **values)),
        (violations.UnknownLabel, Refusal.sign(mine, **{**values, "label": "label-099"})),
    ):
        refused(table, error, changed)
    assert table.aggregator.refusals == {}
    table.aggregator.receive(Refusal.sign(mine, **values))
    assert table.aggregator.refusals == {"label-000": RefusalReason.PRIVACY}


def fresh_advert(table: InMemoryRounds, label: str) -> Advert:
    return Participant.join(
        table.aggregator.announcement,
        label=label,
        identity=table.identities[label],
        agreement=table.agreement,
        epsilon=8.0,
        delta=1e-5,
    )[1]


def test_a_preparation_for_a_round_that_is_over_or_under_way_is_refused(table: InMemoryRounds) -> None:
    session, mine = table.aggregator.session, table.participants["label-000"]
    late = [mine.prepare(PrepareRequest(session.run, session.digest, number)) for number in (2, 3)]
    table.aggregator.prepare_requests(5)
    table.request(3, ELEMENTS)
    table.aggregator.prepare_requests(5)
    for preparation in late:
        refused(table, violations.WrongRound, preparation)


def test_a_label_does_not_say_what_a_coordinator_says(table: InMemoryRounds) -> None:
    refused(table, violations.Malformed, table.aggregator.announcement)
    refused(table, violations.Malformed, UnmaskRequest(bytes(16), 1, (), (), ()))


@pytest.mark.parametrize(
    ("number", "labels", "why"),
    [
        (0, ["label-000", "label-001", "label-002"], "does not come after"),
        (1, ["label-000", "label-001", "label-099"], "is not ready"),
        (2, ["label-000", "label-001", "label-002"], "is not ready"),
    ],
)
def test_a_round_that_no_label_would_accept_is_not_started(
    table: InMemoryRounds, number: int, labels: list[str], why: str
) -> None:
    with pytest.raises(LocalProtocolError, match=why):
        table.aggregator.start_round(number, Kind.TRAIN, labels, bytes(32), ELEMENTS)
    assert table.aggregator.participants == ()


@pytest.mark.parametrize("number", [3, 4])
def test_the_number_of_a_round_is_not_used_twice(table: InMemoryRounds, number: int) -> None:
    table.request(4, ELEMENTS)
    with pytest.raises(LocalProtocolError, match="does not come after round 4"):
        table.aggregator.start_round(number, Kind.TRAIN, table.participants, bytes(32), ELEMENTS)


def test_a_round_is_over_when_its_sum_is_known(table: InMemoryRounds) -> None:
    table.report(table.request(1, ELEMENTS), {label: np.ones(ELEMENTS, np.uint32) for label in table.participants})
    table.unmask()
    assert table.aggregator.participants == ()
    with pytest.raises(LocalProtocolError, match="under way"):
        table.aggregator.finish()


def test_shares_that_come_when_the_sum_is_known_are_refused_as_the_labels_mistake(make_table: MakeTable) -> None:
    table = make_table(5)
    for answer in checks(table).values():
        table.aggregator.receive(answer)
    shares = {label: table.participants[label].unmask(r) for label, r in table.aggregator.close_cross_check().items()}
    late = shares.pop("label-000")
    for answer in shares.values():
        table.aggregator.receive(answer)
    assert table.aggregator.finish().vector.tolist() == [5] * ELEMENTS
    refused(table, violations.OutOfOrder, late)


def test_who_signs_too_late_is_out_of_the_round(table: InMemoryRounds) -> None:
    answers = checks(table)
    late = answers.pop("label-000")
    for answer in answers.values():
        table.aggregator.receive(answer)
    assert "label-000" not in table.aggregator.close_cross_check()
    refused(table, violations.OutOfOrder, late)


@pytest.mark.parametrize("step", ["reported", "signed"])
@pytest.mark.usefixtures("small_committee")
def test_a_round_whose_committee_is_gone_is_aborted_before_anything_is_revealed(
    step: str, make_table: MakeTable
) -> None:
    """Of 12 labels 9 are enough, but of 6 that hold shares 4 must be among them."""
    table = make_table(12)
    request = table.request(1, ELEMENTS)
    gone = table.aggregator.session.topology.holders[:3]
    vectors = {label: np.ones(ELEMENTS, np.uint32) for label in table.participants}
    moment = Moment.BEFORE_REPORT if step == "reported" else Moment.BEFORE_CROSS_CHECK
    table.report(request, vectors, dict.fromkeys(gone, moment))
    with pytest.raises(RoundAborted, match=f"3 of 12 labels hold shares and {step}; 4 are needed"):
        table.unmask(dict.fromkeys(gone, moment))


def test_a_round_of_too_few_is_aborted_before_it_begins(table: InMemoryRounds) -> None:
    with pytest.raises(RoundAborted, match="2 participants; 3 of the run's 4 members are needed"):
        table.aggregator.start_round(1, Kind.TRAIN, ["label-000", "label-001"], bytes(32), ELEMENTS)
    assert table.aggregator.participants == ()


def test_n_min_is_counted_on_survivors(make_table: MakeTable) -> None:
    """Nine of ten are more than two thirds, and fewer than this agreement wants in a sum."""
    table = make_table(10, n_min=10)
    vectors = {label: np.ones(ELEMENTS, np.uint32) for label in table.participants}
    table.report(table.request(1, ELEMENTS), vectors, {"label-004": Moment.BEFORE_REPORT})
    with pytest.raises(RoundAborted, match="9 of 10 labels reported; 10 are needed"):
        table.unmask()


def test_a_coordinator_serves_its_own_agreement_and_a_true_configuration(table: InMemoryRounds) -> None:
    announcement = table.aggregator.announcement
    with pytest.raises(violations.WrongAgreement):
        Aggregator(replace(table.agreement, cross_check=False), announcement)
    with pytest.raises(violations.Malformed):
        Aggregator(table.agreement, replace(announcement, config_digest=bytes(32)))
    assert Announcement.of(table.agreement, plain_config(32)).run != announcement.run


def test_an_aborted_round_leaves_nothing_behind_and_the_next_one_works(table: InMemoryRounds) -> None:
    one_report(table)
    table.aggregator.close_reports()
    with pytest.raises(RoundAborted, match="0 of 4 labels signed"):
        table.aggregator.close_cross_check()
    assert table.aggregator.participants == ()
    assert table.aggregator._gathering is None
    table.report(table.request(2, ELEMENTS), {label: np.ones(ELEMENTS, np.uint32) for label in table.participants})
    assert table.unmask().vector.tolist() == [4] * ELEMENTS


def test_a_restarted_coordinator_continues_with_the_same_set_up(table: InMemoryRounds) -> None:
    restarted = Aggregator(table.agreement, table.aggregator.announcement)
    restarted.restore([decode(message) for message in table.aggregator.setup_messages()], 4)
    assert restarted.session == table.aggregator.session
    table.aggregator = restarted
    with pytest.raises(LocalProtocolError, match="Round 4 does not come after round 4"):
        restarted.start_round(4, Kind.TRAIN, (), bytes(32), ELEMENTS)
    table.report(table.request(5, ELEMENTS), {label: np.ones(ELEMENTS, np.uint32) for label in table.participants})
    assert table.unmask().vector.tolist() == [4] * ELEMENTS


def test_a_stranger_with_a_key_of_its_own_is_nobody() -> None:
    table = InMemoryRounds(4)
    advert = fresh_advert(table, "label-000")
    fields = {name: getattr(advert, name) for name in advert.__dataclass_fields__ if name not in ("TYPE", "PURPOSE")}
    fields.pop("signature")
    stranger = Advert.sign(Identity.generate(), **{**fields, "label": "stranger"})
    refused(table, violations.UnknownLabel, stranger)
