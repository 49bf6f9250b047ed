"""A coordinator, colluding labels or the network at work: each trick has its own error, and gets nothing."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest

from sottovoce.errors import LocalProtocolError, RemoteProtocolError, RoundAborted
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.identity import Identity
from sottovoce.protocol import violations
from sottovoce.protocol.keys import RunKey
from sottovoce.protocol.messages import (
    Advert,
    Announcement,
    CrossCheckRequest,
    Kind,
    ReportRequest,
    Sealed,
    Shares,
    Signature,
    UnmaskRequest,
)
from sottovoce.protocol.participant import Participant
from sottovoce.protocol.round_context import Round
from sottovoce.protocol.shamir import combine
from sottovoce_simulations.engine.in_process_rounds import InMemoryRounds, plain_config

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


def signed_again(table: InMemoryRounds, advert: Advert, **changes: object) -> Advert:
    """The advert that a corrupt label could make of its own."""
    values = {
        name: getattr(advert, name)
        for name in ("run", "agreement", "label", "public_key", "config_digest", "epsilon", "delta")
    }
    return Advert.sign(table.identities[advert.label], **{**values, **changes})


@dataclass(frozen=True)
class Trick:
    """What becomes of a good request, and the error it must meet."""

    error: type[RemoteProtocolError]
    change: Callable[[InMemoryRounds, ReportRequest], ReportRequest]


def adverts(request: ReportRequest, *changed: Advert) -> ReportRequest:
    new = {advert.label: advert for advert in changed}
    return replace(request, adverts=tuple(new.get(advert.label, advert) for advert in request.adverts))


def sorted_adverts(request: ReportRequest, more: Iterable[Advert]) -> ReportRequest:
    return replace(request, adverts=tuple(sorted((*request.adverts, *more), key=lambda advert: advert.label)))


def stranger(table: InMemoryRounds, request: ReportRequest) -> ReportRequest:
    advert = request.adverts[1]
    unknown = Advert.sign(
        Identity.generate(),
        run=advert.run,
        agreement=advert.agreement,
        label="stranger",
        public_key=bytes(range(32)),
        config_digest=advert.config_digest,
        epsilon=8.0,
        delta=1e-5,
    )
    return sorted_adverts(request, [unknown])


def other_config(table: InMemoryRounds, advert: Advert) -> Advert:
    return signed_again(table, advert, config_digest=plain_config(32).changed(update_clip=2.0).digest)


def other_run(table: InMemoryRounds, advert: Advert) -> Advert:
    return signed_again(table, advert, run=bytes(16))


TRICKS = {
    "another run": Trick(violations.WrongRun, lambda table, request: replace(request, run=bytes(16))),
    "other parameters": Trick(
        violations.WrongParameters, lambda table, request: replace(request, parameters_digest=b"\x01" * 32)
    ),
    "fewer than n_min": Trick(
        violations.TooFewParticipants, lambda table, request: replace(request, adverts=request.adverts[:4])
    ),
    "without me": Trick(
        violations.NotAParticipant, lambda table, request: replace(request, adverts=request.adverts[1:])
    ),
    "an unknown label": Trick(violations.UnknownLabel, stranger),
    "a label twice": Trick(
        violations.DuplicateParticipant, lambda table, request: sorted_adverts(request, [request.adverts[2]])
    ),
    "a label twice, under two keys": Trick(
        violations.DuplicateParticipant,
        lambda table, request: sorted_adverts(
            request, [signed_again(table, request.adverts[2], public_key=RunKey.generate().public)]
        ),
    ),
    "a key twice": Trick(
        violations.DuplicateParticipant,
        lambda table, request: adverts(
            request, signed_again(table, request.adverts[1], public_key=request.adverts[2].public_key)
        ),
    ),
    "not in order": Trick(violations.Malformed, lambda table, request: replace(request, adverts=request.adverts[::-1])),
    "a key that nobody signed": Trick(
        violations.BadSignature,
        lambda table, request: adverts(request, replace(request.adverts[3], public_key=bytes(range(32)))),
    ),
    "a higher promise": Trick(
        violations.BadSignature, lambda table, request: adverts(request, replace(request.adverts[3], epsilon=1.0))
    ),
    "another configuration": Trick(
        violations.ConfigurationChanged,
        lambda table, request: adverts(request, other_config(table, request.adverts[3])),
    ),
    "another configuration for all": Trick(
        violations.ConfigurationChanged,
        lambda table, request: adverts(request, *(other_config(table, advert) for advert in request.adverts)),
    ),
    "an advert of another run": Trick(
        violations.WrongRun, lambda table, request: adverts(request, other_run(table, request.adverts[3]))
    ),
    "an advert under another agreement": Trick(
        violations.WrongAgreement,
        lambda table, request: adverts(request, signed_again(table, request.adverts[3], agreement=bytes(32))),
    ),
    "another advert of mine": Trick(
        violations.Equivocation,
        lambda table, request: adverts(request, signed_again(table, request.adverts[0], epsilon=9.0)),
    ),
    "a key of small order": Trick(
        violations.BadKey,
        lambda table, request: adverts(request, signed_again(table, request.adverts[3], public_key=bytes(32))),
    ),
}


@pytest.mark.parametrize("name", TRICKS)
def test_a_request_with_a_trick_in_it_is_refused_before_training(table: InMemoryRounds, name: str) -> None:
    trick, participant, request = TRICKS[name], table.participants[ME], table.request(1, 3)
    changed = trick.change(table, request)
    assert changed != request
    refused(trick.error, participant, lambda: participant.accept(changed, request.parameters_digest))
    participant.accept(request, request.parameters_digest)


@pytest.mark.parametrize("number", [1, 2])
def test_a_round_is_never_repeated_nor_an_older_one_asked(table: InMemoryRounds, number: int) -> None:
    participant, first = table.participants[ME], table.request(1, 3)
    second = table.request(2, 3)
    participant.accept(second, bytes(32))
    old = {1: first, 2: second}[number]
    refused(violations.StaleRound, participant, lambda: participant.accept(old, bytes(32)))
    participant.report(np.zeros(3, np.uint32))
    refused(violations.StaleRound, participant, lambda: participant.accept(old, bytes(32)))
    again = replace(old, kind=Kind.EVALUATE)
    refused(violations.StaleRound, participant, lambda: participant.accept(again, bytes(32)))


def test_an_announcement_under_another_agreement_is_refused(table: InMemoryRounds) -> None:
    other = replace(table.agreement, n_min=3)
    announcement = Announcement.of(other, plain_config(32))
    with pytest.raises(violations.WrongAgreement):
        join(table, announcement, table.agreement)


def test_an_announcement_whose_digest_is_of_another_configuration_is_refused(table: InMemoryRounds) -> None:
    good = table.aggregator.announcement
    weaker = plain_config(32).changed(epsilon=1000.0)
    for changed in (
        replace(good, config_bytes=weaker.to_bytes()),
        replace(good, config_digest=weaker.digest),
        replace(good, config_bytes=b"{}"),
        replace(good, config_bytes=b" " + good.config_bytes),
    ):
        with pytest.raises(violations.Malformed, match="configuration"):
            join(table, changed, table.agreement)


def test_a_label_does_not_join_under_a_key_that_is_not_its_own(table: InMemoryRounds) -> None:
    with pytest.raises(LocalProtocolError, match="another identity key"):
        Participant.join(
            table.aggregator.announcement,
            label="label-001",
            identity=table.identities[ME],
            agreement=table.agreement,
            epsilon=1.0,
            delta=1e-5,
        )


def join(table: InMemoryRounds, announcement: Announcement, agreement: Agreement) -> None:
    Participant.join(
        announcement, label=ME, identity=table.identities[ME], agreement=agreement, epsilon=1.0, delta=1e-5
    )


def test_above_64_labels_a_round_without_cross_check_is_refused(make_table: MakeTable) -> None:
    table = make_table(65, cross_check=False)
    with pytest.raises(LocalProtocolError, match="cross_check"):
        table.request(1, 3)
    everyone = tuple(table.aggregator.adverts.values())
    request = ReportRequest(table.aggregator.announcement.run, 1, Kind.TRAIN, bytes(32), 3, everyone)
    participant = table.participants[ME]
    refused(violations.TooManyParticipants, participant, lambda: participant.accept(request, bytes(32)))


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
    fewer = replace(unmask, survivors=unmask.survivors[:-1], bundles=unmask.bundles[:-1])
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


def test_bundles_are_whole_and_everyones(table: InMemoryRounds) -> None:
    reported(table)
    requests = unmask_requests(table)
    unmask, participant = requests[ME], table.participants[ME]
    boxes = unmask.bundles
    broken = Sealed(boxes[0].label, boxes[0].box[:-1] + bytes([boxes[0].box[-1] ^ 1]))
    exchanged = Sealed(boxes[0].label, boxes[1].box)
    of_another = Sealed(boxes[0].label, requests["label-002"].bundles[1].box)
    for error, changed in (
        (violations.WrongBundles, boxes[1:]),
        (violations.WrongBundles, (Sealed(ME, boxes[0].box), *boxes)),
        (violations.BadSeal, (broken, *boxes[1:])),
        (violations.BadSeal, (exchanged, *boxes[1:])),
        (violations.BadSeal, (of_another, *boxes[1:])),
        (violations.BadSeal, (Sealed(boxes[0].label, b""), *boxes[1:])),
    ):
        request = replace(unmask, bundles=changed)
        refused(error, participant, partial(participant.unmask, request))


@pytest.mark.parametrize("lacks", [1, -1], ids=["shorter", "longer"])
def test_a_corrupt_label_seals_no_bundle_of_another_length(
    table: InMemoryRounds, monkeypatch: pytest.MonkeyPatch, lacks: int
) -> None:
    """The coordinator sees what is sealed, and its length, but colludes here: only the holder can tell."""
    corrupt = table.participants["label-001"]
    right = Participant._share

    def share(participant: Participant, round_: Round, secrets: bytes) -> tuple[bytes, tuple[Sealed, ...]]:
        changed = secrets[:-lacks] if lacks > 0 else secrets + b"x"
        return right(participant, round_, changed if participant is corrupt else secrets)

    monkeypatch.setattr(Participant, "_share", share)
    request = table.request(1, 3)
    vectors = {label: np.ones(3, np.uint32) for label in table.participants}
    reports = {
        label: p.accept(request, bytes(32)) and p.report(vectors[label]) for label, p in table.participants.items()
    }
    survivors = tuple(reports)
    bundles = tuple(
        Sealed(label, sealed.box)
        for label in survivors
        if label != ME
        for sealed in reports[label].bundles
        if sealed.label == ME
    )
    check = CrossCheckRequest(request.run, 1, survivors)
    signatures = tuple(Signature(label, p.cross_check(check).signature) for label, p in table.participants.items())
    unmask = UnmaskRequest(request.run, 1, survivors, signatures, bundles)
    refused(violations.WrongBundles, table.participants[ME], lambda: table.participants[ME].unmask(unmask))


def test_bundles_of_an_earlier_round_do_not_open(table: InMemoryRounds) -> None:
    reported(table)
    old = unmask_requests(table)[ME]
    table.report(table.request(2, 3), {label: np.ones(3, np.uint32) for label in table.participants})
    new, participant = unmask_requests(table)[ME], table.participants[ME]
    replayed = replace(new, bundles=(old.bundles[0], *new.bundles[1:]))
    refused(violations.BadSeal, participant, lambda: participant.unmask(replayed))
    refused(violations.WrongRound, participant, lambda: participant.unmask(old))


def test_a_label_unmasks_once(table: InMemoryRounds) -> None:
    reported(table)
    unmask, participant = unmask_requests(table)[ME], table.participants[ME]
    participant.unmask(unmask)
    refused(violations.OutOfOrder, participant, lambda: participant.unmask(unmask))
    fewer = replace(unmask, survivors=unmask.survivors[:-1], bundles=unmask.bundles[:-1])
    refused(violations.OutOfOrder, participant, lambda: participant.unmask(fewer))


def test_who_holds_no_shares_is_not_asked(make_table: MakeTable) -> None:
    table = make_table(65)
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
    round_ = table.participants[ME]._progress.round  # type: ignore[union-attr]
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
    everyone, victim = tuple(table.participants), "label-006"
    as_dropped = everyone[:-1]
    answers: dict[tuple[str, ...], int] = {everyone: 0, as_dropped: 0}
    for place, label in enumerate(everyone[:-1]):
        request = unmask[label]
        assert isinstance(request, UnmaskRequest)
        fewer = replace(
            request,
            survivors=as_dropped,
            bundles=tuple(sealed for sealed in request.bundles if sealed.label != victim),
        )
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
    round_ = table.aggregator._gathering.round  # type: ignore[union-attr]
    opened = list(round_.unmasked(tuple(requests)))
    assert not any(label in late for label, _, _ in opened)
    assert all(partner in late for _, partner, _ in opened if partner is not None)
    assert all(len(answer.values) == 32 * len(opened) for answer in answers.values())


def test_fewer_shares_than_the_threshold_open_nothing(table: InMemoryRounds) -> None:
    reported(table)
    requests = unmask_requests(table)
    gathering = table.aggregator._gathering
    assert gathering is not None
    for label in list(requests)[:4]:
        table.aggregator.receive(table.participants[label].unmask(requests[label]))
    shares = {label: np.frombuffer(values, np.uint8) for label, values in gathering.shares.items()}
    with pytest.raises(violations.WrongShares, match="4 holders gave shares, and 5 are needed"):
        combine(range(4), np.array(list(shares.values())), threshold=5)
    with pytest.raises(RoundAborted, match="4 of 7 labels gave their shares; 5 are needed"):
        table.aggregator.finish()


def test_a_wrong_share_ends_the_round(table: InMemoryRounds) -> None:
    reported(table)
    for label, unmask in unmask_requests(table).items():
        shares = table.participants[label].unmask(unmask)
        if label == "label-003":
            changed = bytes([shares.values[0] ^ 1]) + shares.values[1:]
            shares = Shares.sign(
                table.identities[label],
                run=shares.run,
                round=shares.round,
                survivors_digest=shares.survivors_digest,
                label=label,
                values=changed,
            )
        table.aggregator.receive(shares)
    with pytest.raises(RoundAborted, match="do not lie on one polynomial") as caught:
        table.aggregator.finish()
    assert isinstance(caught.value.__cause__, violations.WrongShares)


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
