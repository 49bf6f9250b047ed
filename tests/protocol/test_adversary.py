"""A coordinator, colluding labels or the network at work on a round: each trick has its own error, and gets nothing."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest

from sottovoce.errors import LocalProtocolError, RemoteProtocolError, RoundAborted
from sottovoce.protocol import violations
from sottovoce.protocol.keys import secret_commitment
from sottovoce.protocol.message import SECRET_BYTES
from sottovoce.protocol.messages import (
    CrossCheckRequest,
    Kind,
    Preparation,
    Prepared,
    PrepareRequest,
    ReportRequest,
    Signature,
    UnmaskRequest,
)
from sottovoce.protocol.pair_keys import mask_seed
from sottovoce.protocol.participant import Participant
from sottovoce.protocol.prg import add_masks
from sottovoce.protocol.shamir import combine
from sottovoce.protocol.sharing import open_vault, prepared
from sottovoce.protocol.violations import BadSeal
from sottovoce_simulations.engine.in_process_rounds import InMemoryRounds

ME = "label-000"
LABELS = 7  # t = 5, and 2 may be corrupt
MakeTable = Callable[..., InMemoryRounds]


@pytest.fixture
def table(make_table: MakeTable) -> InMemoryRounds:
    return make_table(LABELS, n_min=5)


def refused(error: type[RemoteProtocolError], participant: Participant, step: Callable[[], object]) -> None:
    """The step raises exactly this error, and the participant is as it was."""
    before = participant.to_bytes()
    with pytest.raises(RemoteProtocolError) as caught:
        step()
    assert type(caught.value) is error
    assert participant.to_bytes() == before


@dataclass(frozen=True)
class Trick:
    """How a valid request is altered, and the error that must result."""

    error: type[RemoteProtocolError]
    change: Callable[[ReportRequest], ReportRequest]


def participants(*changed: Prepared, keep: slice = slice(None)) -> Callable[[ReportRequest], ReportRequest]:
    def change(request: ReportRequest) -> ReportRequest:
        new = {item.label: item for item in (*request.participants[keep], *changed)}
        return replace(request, participants=tuple(sorted(new.values())))

    return change


TRICKS = {
    "another run": Trick(violations.WrongRun, lambda request: replace(request, run=bytes(16))),
    "another set-up": Trick(violations.WrongSession, lambda request: replace(request, session=bytes(32))),
    "other parameters": Trick(
        violations.UnfollowedParameters, lambda request: replace(request, parameters_digest=b"\x01" * 32)
    ),
    "a round that is not planned": Trick(violations.UnplannedRound, lambda request: replace(request, round=12)),
    "fewer than n_min": Trick(violations.TooFewParticipants, participants(keep=slice(5))),
    "without me": Trick(violations.NotAParticipant, participants(keep=slice(1, None))),
    "who is no member": Trick(violations.UnknownLabel, participants(Prepared("stranger", bytes(32)))),
    "another preparation of mine": Trick(violations.Equivocation, participants(Prepared(ME, bytes(32)))),
    "a preparation of mine for an earlier round": Trick(
        violations.Equivocation, lambda request: replace(request, round=2)
    ),
}


@pytest.mark.parametrize("name", TRICKS)
def test_a_request_with_a_trick_in_it_is_refused_before_training(make_table: MakeTable, name: str) -> None:
    table = make_table(LABELS, n_min=6)
    trick, participant, request = TRICKS[name], table.participants[ME], table.request(1, 3)
    changed = trick.change(request)
    assert changed != request
    refused(trick.error, participant, lambda: participant.accept(changed, request.parameters_digest))
    participant.accept(request, request.parameters_digest)


def test_a_label_prepares_for_rounds_to_come_only(table: InMemoryRounds) -> None:
    participant, session = table.participants[ME], table.aggregator.session
    good = PrepareRequest(session.run, session.digest, 3)
    participant.accept(table.request(2, 3), bytes(32))
    for error, changed in (
        (violations.WrongRun, replace(good, run=bytes(16))),
        (violations.WrongSession, replace(good, session=bytes(32))),
        (violations.StaleRound, replace(good, round=2)),
        (violations.UnplannedRound, replace(good, round=12)),
    ):
        refused(error, participant, partial(participant.prepare, changed))
    assert participant.prepare(good).round == 3
    refused(violations.StaleRound, participant, partial(participant.prepare, replace(good, round=2)))
    # Ten rounds are planned, and one evaluation.
    assert participant.prepare(replace(good, round=11)).round == 11


@pytest.mark.parametrize("number", [1, 2])
def test_a_round_is_never_repeated_nor_an_older_one_asked(table: InMemoryRounds, number: int) -> None:
    participant, first = table.participants[ME], table.request(1, 3)
    second = table.request(2, 3)  # for which all have prepared anew
    participant.accept(second, bytes(32))
    old = {1: first, 2: second}[number]
    refused(violations.StaleRound, participant, lambda: participant.accept(old, bytes(32)))
    participant.report(np.zeros(3, np.uint32))
    refused(violations.StaleRound, participant, lambda: participant.accept(old, bytes(32)))
    again = replace(old, kind=Kind.EVALUATE)
    refused(violations.StaleRound, participant, lambda: participant.accept(again, bytes(32)))


def reported(table: InMemoryRounds, silent: frozenset[str] = frozenset()) -> ReportRequest:
    request = table.request(1, 3)
    table.report(request, {label: np.ones(3, np.uint32) for label in table.participants if label not in silent})
    return request


SURVIVORS = {
    "a label that takes no part": (violations.WrongSurvivors, (*(f"label-{n:03}" for n in range(6)), "label-099")),
    "without me": (violations.WrongSurvivors, tuple(f"label-{n:03}" for n in range(1, 7))),
    "below the threshold": (violations.TooFewSurvivors, tuple(f"label-{n:03}" for n in range(4))),
}


@pytest.mark.parametrize("name", SURVIVORS)
def test_a_survivor_set_that_cannot_be_is_neither_signed_nor_unmasked(make_table: MakeTable, name: str) -> None:
    error, survivors = SURVIVORS[name]
    for cross_check in (True, False):
        table = make_table(LABELS, cross_check=cross_check)
        request, participant = reported(table), table.participants[ME]
        check = CrossCheckRequest(request.run, 1, survivors)
        unmask = UnmaskRequest(request.run, 1, survivors, (), ())
        if cross_check:
            refused(error, participant, partial(participant.cross_check, check))
        refused(error, participant, partial(participant.unmask, unmask))


@pytest.mark.parametrize(
    ("changes", "error"), [({"run": bytes(16)}, violations.WrongRun), ({"round": 2}, violations.WrongRound)]
)
def test_steps_of_another_run_or_round_are_refused(
    table: InMemoryRounds, changes: dict[str, object], error: type[RemoteProtocolError]
) -> None:
    request, participant = reported(table), table.participants[ME]
    check = CrossCheckRequest(request.run, 1, tuple(table.participants))
    refused(error, participant, lambda: participant.cross_check(replace(check, **changes)))  # type: ignore[arg-type]
    unmask = unmask_requests(table)[ME]
    refused(error, participant, lambda: participant.unmask(replace(unmask, **changes)))  # type: ignore[arg-type]


@pytest.mark.parametrize(("n_min", "least", "enough"), [(5, 0, 5), (6, 0, 6), (7, 0, 7), (3, 6, 6), (3, 7, 7)])
def test_survivors_are_counted_by_the_agreement_and_the_labels_own_policy(
    make_table: MakeTable, n_min: int, least: int, enough: int
) -> None:
    """Not participants: whom the coordinator drops does not hide the others."""
    table = make_table(LABELS, n_min=n_min)
    request = reported(table)
    state = table.participants[ME].to_bytes()
    careful = partial(
        Participant.from_bytes,
        state,
        identity=table.identities[ME],
        agreement=table.agreement,
        least_survivors=least,
    )
    everyone = tuple(table.participants)
    for count in range(1, LABELS + 1):
        check = CrossCheckRequest(request.run, 1, everyone[:count])
        if count < enough:
            participant = careful()
            refused(violations.TooFewSurvivors, participant, partial(participant.cross_check, check))
        else:
            careful().cross_check(check)


def test_without_a_cross_check_the_labels_own_policy_still_counts_survivors(make_table: MakeTable) -> None:
    table = make_table(LABELS, cross_check=False)
    request = reported(table)
    careful = Participant.from_bytes(
        table.participants[ME].to_bytes(),
        identity=table.identities[ME],
        agreement=table.agreement,
        least_survivors=LABELS,
    )
    fewer = UnmaskRequest(request.run, 1, tuple(table.participants)[:-1], (), ())
    refused(violations.TooFewSurvivors, careful, lambda: careful.unmask(fewer))
    unmask = table.aggregator.close_reports()[ME]
    assert isinstance(unmask, UnmaskRequest)
    assert len(careful.unmask(unmask).values) == LABELS


def test_a_round_of_fewer_than_the_labels_own_policy_wants_is_refused_before_training(table: InMemoryRounds) -> None:
    request = table.request(1, 3)
    careful = Participant.from_bytes(
        table.participants[ME].to_bytes(),
        identity=table.identities[ME],
        agreement=table.agreement,
        least_survivors=LABELS,
    )
    fewer = replace(request, participants=request.participants[:-1])
    refused(violations.TooFewParticipants, careful, lambda: careful.accept(fewer, bytes(32)))
    careful.accept(request, bytes(32))


def test_no_cross_check_means_none_is_signed(make_table: MakeTable) -> None:
    table = make_table(LABELS, cross_check=False)
    request, participant = reported(table), table.participants[ME]
    check = CrossCheckRequest(request.run, 1, tuple(table.participants))
    refused(violations.OutOfOrder, participant, lambda: participant.cross_check(check))


def unmask_requests(table: InMemoryRounds) -> dict[str, UnmaskRequest]:
    for label, check in table.aggregator.close_reports().items():
        assert isinstance(check, CrossCheckRequest)
        table.aggregator.receive(table.participants[label].cross_check(check))
    return table.aggregator.close_cross_check()


def test_another_survivor_set_than_was_signed_is_equivocation(table: InMemoryRounds) -> None:
    reported(table)
    unmask, participant = unmask_requests(table)[ME], table.participants[ME]
    fewer = replace(unmask, survivors=unmask.survivors[:-1])
    refused(violations.Equivocation, participant, lambda: participant.unmask(fewer))


def test_signatures_on_the_survivor_set_are_counted_and_checked(table: InMemoryRounds) -> None:
    reported(table)
    unmask, participant = unmask_requests(table)[ME], table.participants[ME]
    signatures = unmask.signatures
    forged = Signature(signatures[1].label, signatures[2].signature)
    old = table.identities["label-001"].sign(purpose="cross-check", message=bytes(32))
    for error, changed in (
        (violations.TooFewSignatures, ()),
        (violations.TooFewSignatures, signatures[:4]),
        (violations.BadSignature, (signatures[0], forged, *signatures[2:])),
        (violations.BadSignature, (signatures[0], Signature("label-001", old), *signatures[2:])),
        (violations.BadSignature, (*signatures, Signature("label-099", bytes(64)))),
    ):
        request = replace(unmask, signatures=changed)
        refused(error, participant, partial(participant.unmask, request))
    participant.unmask(replace(unmask, signatures=signatures[2:]))


def test_signatures_where_the_agreement_wants_none_are_refused(make_table: MakeTable) -> None:
    table = make_table(LABELS, cross_check=False)
    reported(table)
    unmask, participant = table.aggregator.close_reports()[ME], table.participants[ME]
    assert isinstance(unmask, UnmaskRequest)
    changed = replace(unmask, signatures=(Signature(ME, bytes(64)),))
    refused(violations.TooFewSignatures, participant, lambda: participant.unmask(changed))


def test_boxes_are_as_many_as_participants(table: InMemoryRounds) -> None:
    reported(table)
    unmask, participant = unmask_requests(table)[ME], table.participants[ME]
    for changed in (unmask.boxes[1:], (*unmask.boxes, unmask.boxes[0]), ()):
        request = replace(unmask, boxes=changed)
        refused(violations.WrongBoxes, participant, partial(participant.unmask, request))


def test_a_box_that_does_not_open_is_complained_of_and_the_others_are_given(table: InMemoryRounds) -> None:
    """Broken, exchanged, of another holder, of another commitment, or with another share in it than it says."""
    reported(table)
    requests = unmask_requests(table)
    unmask, state = requests[ME], table.participants[ME].to_bytes()
    first, second, *others = unmask.boxes
    for bad in (
        replace(first, sealed=first.sealed[:-1] + bytes([first.sealed[-1] ^ 1])),
        replace(first, sealed=second.sealed),
        requests["label-002"].boxes[1],
        replace(first, commitment=second.commitment),
        replace(first, share_tag=second.share_tag),
    ):
        participant = Participant.from_bytes(state, identity=table.identities[ME], agreement=table.agreement)
        shares = participant.unmask(replace(unmask, boxes=(bad, second, *others)))
        assert [complaint.label for complaint in shares.complaints] == ["label-001"]
        assert len(shares.values) == LABELS - 1


def test_a_complaint_shows_a_key_that_opens_this_box_and_no_other(table: InMemoryRounds) -> None:
    reported(table)
    participant = table.participants[ME]
    unmask = unmask_requests(table)[ME]
    pairs = participant._stage.pairs  # type: ignore[union-attr]
    broken = replace(unmask.boxes[0], sealed=bytes(48))
    shares = participant.unmask(replace(unmask, boxes=(broken, *unmask.boxes[1:])))
    (complaint,) = shares.complaints
    request = table.aggregator._gathering.round.request  # type: ignore[union-attr]
    assert complaint.key == pairs.seal_key("label-001", ME, 1, "seal-report", request.digest)
    others = {
        pairs.seal_key("label-001", ME, number, purpose, bound)
        for number in (1, 2)
        for purpose in ("seal-preparation", "seal-report")
        for bound in (b"", bytes(32))
    } | {pairs.seal_key("label-002", ME, 1, "seal-report", request.digest)}
    assert complaint.key not in others | {pairs.round_key("label-001", 1), *pairs.links.values()}


def test_boxes_of_an_earlier_round_do_not_open(table: InMemoryRounds) -> None:
    reported(table)
    old = unmask_requests(table)[ME]
    table.report(table.request(2, 3), {label: np.ones(3, np.uint32) for label in table.participants})
    new, participant = unmask_requests(table)[ME], table.participants[ME]
    refused(violations.WrongRound, participant, lambda: participant.unmask(old))
    shares = participant.unmask(replace(new, boxes=(old.boxes[0], *new.boxes[1:])))
    assert [complaint.label for complaint in shares.complaints] == ["label-001"]


def test_boxes_of_both_kinds_of_one_label_never_both_open(table: InMemoryRounds) -> None:
    """A survivor's preparation, which would open its pair keys, is sealed for another purpose than its report."""
    reported(table)
    unmask, participant = unmask_requests(table)[ME], table.participants[ME]
    preparation = table.aggregator._gathering.preparations["label-001"]  # type: ignore[union-attr]
    box = preparation.boxes[0]
    other = replace(unmask.boxes[0], commitment=preparation.commitment, sealed=box.sealed, share_tag=box.share_tag)
    shares = participant.unmask(replace(unmask, boxes=(other, *unmask.boxes[1:])))
    assert [complaint.label for complaint in shares.complaints] == ["label-001"]


def test_a_label_unmasks_once(table: InMemoryRounds) -> None:
    reported(table)
    unmask, participant = unmask_requests(table)[ME], table.participants[ME]
    participant.unmask(unmask)
    refused(violations.OutOfOrder, participant, lambda: participant.unmask(unmask))
    fewer = replace(unmask, survivors=unmask.survivors[:-1])
    refused(violations.OutOfOrder, participant, lambda: participant.unmask(fewer))


@pytest.mark.usefixtures("small_committee")
def test_who_holds_no_shares_is_not_asked(make_table: MakeTable) -> None:
    table = make_table(9)
    reported(table)
    requests = unmask_requests(table)
    outside = next(label for label in table.participants if label not in requests)
    participant = table.participants[outside]
    request = next(iter(requests.values()))
    refused(violations.NotAParticipant, participant, lambda: participant.unmask(request))


@pytest.mark.parametrize("shown_without", range(5))
def test_nobody_is_unmasked_both_as_alive_and_as_dropped(table: InMemoryRounds, shown_without: int) -> None:
    """Two corrupt labels sign anything, five honest ones what they are shown: two sets never both get t = 5."""
    request = reported(table)
    everyone = tuple(table.participants)
    as_dropped, corrupt, honest = everyone[:-1], everyone[:2], everyone[2:]
    collected: dict[tuple[str, ...], list[Signature]] = {everyone: [], as_dropped: []}
    round_ = table.participants[ME]._stage.progress.round  # type: ignore[union-attr]
    for place, label in enumerate(honest):
        shown = as_dropped if place < shown_without else everyone
        signed = table.participants[label].cross_check(CrossCheckRequest(request.run, 1, shown))
        collected[shown].append(Signature(label, signed.signature))
    for survivors, signatures in collected.items():
        for label in corrupt:
            both = table.identities[label].sign(purpose="cross-check", message=round_.survivors_digest(survivors))
            signatures.append(Signature(label, both))
    certified = [survivors for survivors, signatures in collected.items() if len(signatures) >= 5]
    assert len(certified) <= 1
    for survivors, signatures in collected.items():
        if survivors not in certified:
            unmask = UnmaskRequest(request.run, 1, survivors, tuple(sorted(signatures)), ())
            for label in honest:
                with pytest.raises((violations.TooFewSignatures, violations.Equivocation, violations.WrongSurvivors)):
                    table.participants[label].unmask(unmask)


def test_without_cross_check_each_holder_still_answers_for_one_set_only(make_table: MakeTable) -> None:
    """All shares of one label's self-mask and of its pair masks are never given: each holder gives one kind of them."""
    table = make_table(LABELS, cross_check=False)
    reported(table)
    unmask = table.aggregator.close_reports()
    everyone = tuple(table.participants)
    as_dropped = everyone[:-1]
    answers: dict[tuple[str, ...], int] = {everyone: 0, as_dropped: 0}
    for place, label in enumerate(everyone[:-1]):
        request = unmask[label]
        assert isinstance(request, UnmaskRequest)
        fewer = replace(request, survivors=as_dropped)
        first, second = (request, fewer) if place % 2 else (fewer, request)
        participant = table.participants[label]
        participant.unmask(first)
        answers[first.survivors] += 1
        refused(violations.OutOfOrder, participant, partial(participant.unmask, second))
    assert all(count < 5 for count in answers.values())


def test_equivocation_on_the_request_leaves_masks_that_do_not_cancel(table: InMemoryRounds) -> None:
    """Two labels are sent other parameters than the rest: their signatures and seals fit nobody else's."""
    request = table.request(1, 3)
    other = replace(request, parameters_digest=b"\x01" * 32)
    for place, participant in enumerate(table.participants.values()):
        sent = other if place < 2 else request
        participant.accept(sent, sent.parameters_digest)
        report = participant.report(np.ones(3, np.uint32))
        if place < 2:
            with pytest.raises(violations.WrongRound):
                table.aggregator.receive(report)
            # A coordinator that lies takes it in all the same.
            forged = replace(report, request=request.digest)
            with pytest.raises(violations.BadSignature):
                table.aggregator.receive(forged)
        else:
            table.aggregator.receive(report)
    checks = table.aggregator.close_reports()
    assert set(checks) == set(list(table.participants)[2:])
    survivors = tuple(table.participants)
    signatures = {}
    for label, participant in table.participants.items():
        signed = participant.cross_check(CrossCheckRequest(request.run, 1, survivors))
        signatures[label] = Signature(label, signed.signature)
    unmask = UnmaskRequest(request.run, 1, survivors, tuple(signatures.values()), ())
    for participant in table.participants.values():
        refused(violations.BadSignature, participant, partial(participant.unmask, unmask))


@pytest.mark.parametrize("survivor_count", [5, 6])
def test_a_label_counted_as_dropped_stays_masked_by_its_own_mask(make_table: MakeTable, survivor_count: int) -> None:
    """Even with every share that may be given, a late report is nothing but noise."""
    table = make_table(LABELS)
    late = tuple(table.participants)[survivor_count:]
    request = table.request(1, 3)
    reports = {}
    for label, participant in table.participants.items():
        participant.accept(request, bytes(32))
        reports[label] = participant.report(np.ones(3, np.uint32))
        if label not in late:
            table.aggregator.receive(reports[label])
    requests = unmask_requests(table)
    answers = {label: table.participants[label].unmask(unmask) for label, unmask in requests.items()}
    gathering = table.aggregator._gathering
    assert gathering is not None
    session, digest = table.aggregator.session, request.digest
    places = [request.participants.index(item) for item in request.participants if item.label in late]
    for label, place in zip(late, places, strict=True):
        matrix = np.array([np.frombuffer(answer.values[place], np.uint8) for answer in answers.values()])
        secret = combine([session.topology.holders.index(holder) for holder in answers], matrix, threshold=5)
        assert secret_commitment(secret) == gathering.preparations[label].commitment
        assert secret_commitment(secret) != reports[label].commitment  # what hides it is another secret
        vector = np.frombuffer(reports[label].vector, np.uint32).copy()
        vault = open_vault(gathering.preparations[label], secret, session)
        keys = zip(session.topology.partners(label), vault, strict=True)
        seeds = [(partner, mask_seed(key, "mask", session, digest)) for partner, key in keys]
        add_masks(
            vector,
            plus=[seed for partner, seed in seeds if partner < label],
            minus=[seed for partner, seed in seeds if partner > label],
        )
        assert not (vector == 1).any()


def test_fewer_shares_than_the_threshold_open_nothing(table: InMemoryRounds) -> None:
    reported(table)
    requests = unmask_requests(table)
    gathering = table.aggregator._gathering
    assert gathering is not None
    for label in list(requests)[:4]:
        table.aggregator.receive(table.participants[label].unmask(requests[label]))
    shares = {label: np.frombuffer(given.values[0], np.uint8) for label, given in gathering.shares.items()}
    with pytest.raises(violations.WrongShares, match="4 holders sent shares; 5 are needed"):
        combine(range(4), np.array(list(shares.values())), threshold=5)
    with pytest.raises(RoundAborted, match="4 of 7 labels sent their shares; 5 are needed"):
        table.aggregator.finish()


def test_a_vector_of_another_kind_is_our_own_mistake(table: InMemoryRounds) -> None:
    participant = table.participants[ME]
    participant.accept(table.request(1, 3), bytes(32))
    for vector in (np.zeros(4, np.uint32), np.zeros(3, np.uint16), np.zeros(6, np.uint32)[::2]):
        with pytest.raises(LocalProtocolError, match="instead of"):
            participant.report(vector)
    vector = np.zeros(3, np.uint32)
    participant.report(vector)
    with pytest.raises(ValueError, match="read-only"):
        vector[0] = 1


def test_a_key_in_a_vault_that_does_not_match_its_tag_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the coordinator would subtract a mask that no label added, from a dropped label's vault."""
    table = InMemoryRounds(3, ring_bits=16)
    table.join()
    pairs, identity = table.participants[ME]._stage.pairs, table.identities[ME]  # type: ignore[union-attr]
    monkeypatch.setattr("sottovoce.protocol.sharing.os.urandom", bytes)
    honest = prepared(pairs, 2, lambda **fields: Preparation.sign(identity, **fields))
    assert len(open_vault(honest, bytes(SECRET_BYTES), pairs.session)) == 2
    with pytest.raises(BadSeal, match="tag"):
        open_vault(replace(honest, tags=honest.tags[::-1]), bytes(SECRET_BYTES), pairs.session)
