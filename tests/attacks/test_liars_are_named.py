"""A label that lies about a share, a box, a vault or a key is named when its own messages prove it; nobody else is."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sottovoce.errors import RoundAborted
from sottovoce.protocol.aggregator import Sum
from sottovoce.protocol.evidence import Evidence
from sottovoce.protocol.keys import key_tag, share_tag
from sottovoce.protocol.messages import Box, Complaint, Kind, Message, Preparation, Report, Shares, Signed
from sottovoce.protocol.seal import seal
from sottovoce.protocol.sharing import REPORT, box_header, share
from sottovoce_simulations.engine.in_process_rounds import PARAMETERS_DIGEST, InMemoryRounds

MakeTable = Callable[..., InMemoryRounds]
LIAR, VICTIM = "label-003", "label-001"
Lie = Callable[[InMemoryRounds, Any], Message]


def signed(table: InMemoryRounds, message: Signed, **changes: object) -> Any:
    """The message changed, and signed again by its label: what a corrupt label could send."""
    fields = {name: getattr(message, name) for name in message.__dataclass_fields__ if name not in ("TYPE", "PURPOSE")}  # type: ignore[attr-defined]
    fields.pop("signature")
    return type(message).sign(table.identities[message.label], **{**fields, **changes})


def truth(table: InMemoryRounds, message: Any) -> Message:
    return message  # type: ignore[no-any-return]


def play(
    table: InMemoryRounds,
    *,
    prepared: Lie = truth,
    reported: Lie = truth,
    shared: Lie = truth,
    gone: tuple[str, ...] = (),
    number: int = 1,
) -> Sum:
    """A round in which the liar says what it likes."""
    aggregator = table.aggregator
    lying = {Preparation: prepared, Report: reported, Shares: shared}

    def receive(message: Message) -> None:
        lie = lying.get(type(message), truth)
        aggregator.receive(lie(table, message) if getattr(message, "label", "") == LIAR else message)

    if prepared is not truth:
        aggregator._preparations = {}
        for label, request in aggregator.prepare_requests(number).items():
            receive(table.participants[label].prepare(request))
    else:
        for label, request in aggregator.prepare_requests(number).items():
            aggregator.receive(table.participants[label].prepare(request))
    ready = aggregator.ready(number)
    request = aggregator.start_round(number, Kind.TRAIN, ready, PARAMETERS_DIGEST, 3)
    if prepared is not truth and LIAR in ready:  # it goes by what it sent
        mine = table.participants[LIAR]
        seat = mine._stage
        digest = next(item.preparation for item in request.participants if item.label == LIAR)
        mine._stage = replace(seat, prepared=digest)  # type: ignore[arg-type]
    for label in ready:
        if label not in gone:
            participant = table.participants[label]
            participant.accept(request, PARAMETERS_DIGEST)
            receive(participant.report(np.ones(3, np.uint32)))
    for label, check in aggregator.close_reports().items():
        receive(table.participants[label].answer(check))
    for label, unmask in aggregator.close_cross_check().items():
        receive(table.participants[label].answer(unmask))
    return aggregator.finish()


def exact(total: Sum) -> bool:
    return bool((total.vector == len(total.survivors)).all())


def wrong_share(table: InMemoryRounds, shares: Shares) -> Message:
    return signed(table, shares, values=(os.urandom(32), *shares.values[1:]))  # type: ignore[no-any-return]


def test_a_wrong_share_is_left_aside_and_its_holder_named(make_table: MakeTable) -> None:
    table = make_table(7)
    assert exact(play(table, shared=wrong_share))
    assert table.aggregator.liars == {LIAR: "sent another share than it received"}
    assert not table.aggregator.disputes


def test_a_label_that_spoils_its_own_share_of_its_own_secret_does_no_harm(make_table: MakeTable) -> None:
    """Nobody can tell, since that share was sent to nobody; the others' suffice."""
    table = make_table(7)

    def spoil(table: InMemoryRounds, shares: Shares) -> Message:
        mine = list(table.participants).index(LIAR)
        return signed(table, shares, values=(*shares.values[:mine], os.urandom(32), *shares.values[mine + 1 :]))  # type: ignore[no-any-return]

    assert exact(play(table, shared=spoil))
    assert table.aggregator.liars == {}


def test_where_every_share_is_needed_the_round_ends_and_names_the_liar(make_table: MakeTable) -> None:
    """With v1 it was not even known who had lied."""
    table = make_table(4)
    gone = ("label-000",)
    with pytest.raises(
        RoundAborted, match="2 valid shares of the secret of 'label-000' arrived; 3 are needed"
    ) as caught:
        play(table, shared=wrong_share, gone=gone)
    assert caught.value.liars == (LIAR,)


def test_a_complaint_of_a_box_that_opens_is_a_lie(make_table: MakeTable) -> None:
    """Its key opens the box: the share counts, and the round needs nothing else."""
    table = make_table(4)

    def complain(table: InMemoryRounds, shares: Shares) -> Message:
        request = table.aggregator._gathering.round.request  # type: ignore[union-attr]
        key = table.participants[LIAR]._stage.pairs.seal_key(VICTIM, LIAR, 1, "seal-report", request.digest)  # type: ignore[union-attr]
        values = [value for place, value in enumerate(shares.values) if place != 1]
        return signed(table, shares, values=tuple(values), complaints=(Complaint(VICTIM, key),))  # type: ignore[no-any-return]

    assert exact(play(table, shared=complain))
    assert table.aggregator.liars == {LIAR: "complained of a share that does open"}


def test_a_complaint_with_a_made_up_key_accuses_nobody(make_table: MakeTable) -> None:
    table = make_table(4)

    def complain(table: InMemoryRounds, shares: Shares) -> Message:
        values = [value for place, value in enumerate(shares.values) if place != 1]
        return signed(table, shares, values=tuple(values), complaints=(Complaint(VICTIM, os.urandom(32)),))  # type: ignore[no-any-return]

    assert exact(play(table, shared=complain))
    assert table.aggregator.liars == {}
    assert table.aggregator.disputes == ((VICTIM, LIAR),)


@pytest.mark.parametrize("change", ["sealed", "share_tag"])
def test_a_label_that_seals_a_bad_share_is_named_by_the_key_that_does_not_open_it(
    make_table: MakeTable, change: str
) -> None:
    table = make_table(7)

    def spoil(table: InMemoryRounds, report: Report) -> Message:
        box = report.boxes[0]
        bad = replace(box, **{change: os.urandom(len(getattr(box, change)))})
        return signed(table, report, boxes=(bad, *report.boxes[1:]))  # type: ignore[no-any-return]

    assert exact(play(table, reported=spoil))
    assert table.aggregator.liars == {LIAR: "sealed a share that does not open"}


def test_a_label_that_seals_under_its_own_keys_is_named_once_more_contradict_it_than_can_lie(
    make_table: MakeTable,
) -> None:
    table = make_table(7)  # of which two may lie

    def spoil(count: int) -> Lie:
        def lie(table: InMemoryRounds, report: Report) -> Message:
            boxes = [replace(box, sealed=os.urandom(48), key_tag=os.urandom(16)) for box in report.boxes[:count]]
            return signed(table, report, boxes=(*boxes, *report.boxes[count:]))  # type: ignore[no-any-return]

        return lie

    assert exact(play(table, reported=spoil(2)))
    assert table.aggregator.liars == {}
    assert table.aggregator.disputes == (("label-000", LIAR), ("label-001", LIAR))
    with pytest.raises(RoundAborted) as caught:
        play(table, reported=spoil(3), number=2)
    assert caught.value.liars == (LIAR,)
    assert caught.value.disputes == ()


@pytest.mark.parametrize("labels", [4, 7])
def test_a_label_that_shares_another_secret_than_committed_is_named(make_table: MakeTable, labels: int) -> None:
    table = make_table(labels)

    def spoil(table: InMemoryRounds, report: Report) -> Message:
        other = table.participants[LIAR]

        pairs = other._stage.pairs  # type: ignore[union-attr]
        shared = share(pairs, 1, REPORT, report.request)
        mixed = (shared.boxes[0], *report.boxes[1:])
        return signed(table, report, boxes=mixed)  # type: ignore[no-any-return]

    # One share of another polynomial is sealed to the commitment of another report: it does not even open.
    if labels == 4:
        assert exact(play(table, reported=spoil))
        assert table.aggregator.liars == {LIAR: "sealed a share that does not open"}
        return

    def commit(table: InMemoryRounds, report: Report) -> Message:

        pairs = table.participants[LIAR]._stage.pairs  # type: ignore[union-attr]
        boxes = []
        for holder in (label for label in pairs.session.topology.holders if label != LIAR):
            key, value = pairs.seal_key(LIAR, holder, 1, REPORT, report.request), os.urandom(32)
            header = box_header(pairs.session, REPORT, LIAR, holder, 1, report.request)
            sealed = seal(key, value, commitment=report.commitment, header=header)
            boxes.append(Box(sealed, share_tag(value), key_tag(key)))
        return signed(table, report, boxes=tuple(boxes))  # type: ignore[no-any-return]

    with pytest.raises(RoundAborted, match=f"the secret of '{LIAR}' does not match its commitment") as caught:
        play(table, reported=commit)
    assert caught.value.liars == (LIAR,)


def test_a_label_whose_vault_lacks_its_keys_is_named_when_it_is_opened(make_table: MakeTable) -> None:
    table = make_table(7)

    def spoil(table: InMemoryRounds, preparation: Preparation) -> Message:
        return signed(table, preparation, vault=os.urandom(len(preparation.vault)))  # type: ignore[no-any-return]

    with pytest.raises(RoundAborted, match=f"the vault of '{LIAR}' is wrong") as caught:
        play(table, prepared=spoil, gone=(LIAR,))
    assert caught.value.liars == (LIAR,)


def test_a_key_that_two_labels_do_not_agree_on_shows_before_anything_is_masked(make_table: MakeTable) -> None:
    """Of two that contradict each other neither takes part; of one that contradicts many, only it does not."""
    table = make_table(7)

    def spoil(count: int) -> Lie:
        def lie(table: InMemoryRounds, preparation: Preparation) -> Message:
            tags = (*(os.urandom(16) for _ in range(count)), *preparation.tags[count:])
            return signed(table, preparation, tags=tags)  # type: ignore[no-any-return]

        return lie

    total = play(table, prepared=spoil(1))
    assert exact(total)
    assert total.survivors == tuple(label for label in table.participants if label not in ("label-000", LIAR))
    assert table.aggregator.disputes == (("label-000", LIAR),)
    assert not table.aggregator.liars
    total = play(table, prepared=spoil(3), number=2)
    assert total.survivors == tuple(label for label in table.participants if label != LIAR)
    assert list(table.aggregator.liars) == [LIAR]


def test_how_many_can_lie_is_counted_among_the_members_of_the_run_not_of_the_agreement() -> None:
    table = InMemoryRounds(10)  # of which three may lie, but of the four that join only one
    table.join(list(table.identities)[:4])

    def spoil(table: InMemoryRounds, preparation: Preparation) -> Message:
        tags = (os.urandom(16), os.urandom(16), *preparation.tags[2:])
        return signed(table, preparation, tags=tags)  # type: ignore[no-any-return]

    play(table, prepared=spoil)
    assert list(table.aggregator.liars) == [LIAR]


def test_who_is_left_out_is_listed_in_ascending_order(make_table: MakeTable) -> None:
    table = make_table(7)
    for label in reversed(table.participants):
        table.aggregator.leave_out(label)
    assert table.aggregator.left_out == tuple(table.participants)


def test_who_is_left_out_is_named_to_everybody_and_asked_no_more(make_table: MakeTable) -> None:
    table = make_table(7)
    play(table, shared=wrong_share)
    table.aggregator.leave_out(LIAR)
    assert LIAR not in table.aggregator.ready(2)
    assert LIAR not in table.aggregator.prepare_requests(3)
    request = table.request(2, 3)
    assert request.left_out == (LIAR,)
    assert LIAR not in table.aggregator.participants
    table.report(request, {label: np.ones(3, np.uint32) for label in table.participants})
    assert exact(table.unmask())


def test_an_honest_label_is_never_proved_to_lie_by_as_many_liars_as_there_may_be() -> None:
    for members in (*range(3, 40), 64, 128, 199):
        evidence = Evidence(members)
        liars = [f"liar-{number}" for number in range(max(1, -(-members // 3) - 1))]
        for liar in liars:
            evidence.dispute("honest", liar)
        assert "honest" not in evidence.liars
        assert len(evidence.disputes) == len(liars)


def test_liars_are_listed_in_ascending_order_each_with_its_first_contradiction() -> None:
    evidence = Evidence(7)
    for label, why in (("b", "first"), ("a", "second"), ("b", "third")):
        evidence.accuse(label, why)
    assert list(evidence.liars.items()) == [("a", "second"), ("b", "first")]
    for pair in (("e", "f"), ("c", "d"), ("a", "x"), ("g", "h")):
        evidence.dispute(*pair)
    assert evidence.disputes == (("c", "d"), ("e", "f"), ("g", "h"))
