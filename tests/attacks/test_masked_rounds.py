"""Attacks on masked rounds of version 2, each named by the promise of docs/protocol.md that it tries to break."""

import os
from dataclasses import replace

import numpy as np
import pytest

from sottovoce.errors import RemoteProtocolError
from sottovoce.protocol import violations
from sottovoce.protocol.keys import RunKey, encapsulate, nonce_commitment
from sottovoce.protocol.messages import Encapsulated, Kind, Prepared, PrepareRequest, Reveal, Signature, UnmaskRequest
from sottovoce.protocol.pair_keys import mask_seed
from sottovoce.protocol.prg import add_masks
from sottovoce.protocol.shamir import combine
from sottovoce.protocol.sharing import open_vault
from sottovoce_simulations.engine.in_process_rounds import PARAMETERS_DIGEST, InMemoryRounds
from sottovoce_simulations.engine.label_dropouts import Moment

ME, VICTIM, LIAR = "label-000", "label-001", "label-006"
ELEMENTS = 4


def advertised(labels: int = 7, **options: object) -> InMemoryRounds:
    """A table whose labels have all advertised."""
    table = InMemoryRounds(labels, **options)  # type: ignore[arg-type]
    table.advertise()
    return table


def joined(labels: int = 7, **options: object) -> InMemoryRounds:
    table = InMemoryRounds(labels, **options)  # type: ignore[arg-type]
    table.join()
    return table


def ones(table: InMemoryRounds) -> dict[str, np.ndarray]:
    return {label: np.ones(ELEMENTS, np.uint32) for label in table.participants}


def test_a_colluding_label_cannot_grind_the_draw_once_it_knows_everybody_elses_nonce() -> None:
    """In version 1 it made adverts until the committee pleased it; 2^-40 was a bound a draw, and draws were free."""
    table = advertised()
    rosters = table.aggregator.fix_members()
    reveals = {label: table.participants[label].reveal(roster) for label, roster in rosters.items()}
    for reveal in reveals.values():
        table.aggregator.receive(reveal)
    nonces = table.aggregator.close_reveals()[ME]
    for _ in range(20):  # each would be another committee
        better = Reveal.sign(
            table.identities[LIAR],
            run=nonces.run,
            roster=reveals[LIAR].roster,
            label=LIAR,
            nonce=os.urandom(32),
        )
        tried = replace(nonces, reveals=(*nonces.reveals[:-1], better))
        with pytest.raises(violations.WrongNonce):
            table.participants[ME].encapsulate(tried)
    # Nor does another advert help, with a commitment that fits: the nonces were revealed for this roster alone.
    late = replace(rosters[ME], adverts=(*rosters[ME].adverts[:-1], replace(rosters[ME].adverts[-1], epsilon=1.0)))
    with pytest.raises(violations.OutOfOrder):
        table.participants[ME].reveal(late)


def test_withholding_a_nonce_gives_a_new_draw_of_everybodys_new_nonces() -> None:
    """The last to reveal knows the draw before all others. It can leave, but not choose."""
    table = advertised()
    aggregator = table.aggregator
    before = {label: advert.commitment for label, advert in aggregator.adverts.items()}
    for label, roster in aggregator.fix_members().items():
        revealed = table.participants[label].reveal(roster)
        if label != LIAR:
            aggregator.receive(revealed)
    announcement = aggregator.start_again(without=aggregator.missing)
    for label in sorted(before.keys() - {LIAR}):
        advert = table.participants[label].join_again(announcement)
        assert advert.commitment != before[label]
        assert nonce_commitment(revealed.nonce) != advert.commitment


def test_what_opened_one_round_of_a_label_opens_no_other() -> None:
    """A label counts as dropped in round 1, so that its vault is opened; in round 2 it is there again."""
    table = joined()
    gone = {VICTIM: Moment.BEFORE_REPORT}
    first = table.request(1, ELEMENTS)
    aggregator = table.aggregator
    table.report(first, ones(table), gone)
    preparation = aggregator._gathering.preparations[VICTIM]  # type: ignore[union-attr]
    checks = aggregator.close_reports()
    for label, check in checks.items():
        aggregator.receive(table.participants[label].answer(check))
    answers = {
        label: table.participants[label].unmask(request) for label, request in aggregator.close_cross_check().items()
    }
    place = [item.label for item in first.participants].index(VICTIM)
    session = aggregator.session
    points = [session.topology.holders.index(holder) for holder in answers]
    shares = np.array([np.frombuffer(answer.values[place], np.uint8) for answer in answers.values()])
    keys = open_vault(preparation, combine(points, shares, threshold=5), session)

    second = table.request(2, ELEMENTS)
    participant = table.participants[VICTIM]
    old = tuple(Prepared(i.label, preparation.digest) if i.label == VICTIM else i for i in second.participants)
    with pytest.raises(violations.Equivocation):
        participant.accept(replace(second, participants=old), PARAMETERS_DIGEST)
    participant.accept(second, PARAMETERS_DIGEST)
    pairs = participant._stage.pairs  # type: ignore[union-attr]
    partners = session.topology.partners(VICTIM)
    assert not {pairs.round_key(partner, 2) for partner in partners} & set(keys)
    vector = np.frombuffer(participant.report(np.ones(ELEMENTS, np.uint32)).vector, np.uint32).copy()
    for number in (first, second):
        seeds = [mask_seed(key, "mask", session, number.digest) for key in keys]
        signs = [partner < VICTIM for partner in partners]
        tried = vector.copy()
        add_masks(
            tried,
            plus=[seed for seed, sign in zip(seeds, signs, strict=True) if sign],
            minus=[seed for seed, sign in zip(seeds, signs, strict=True) if not sign],
        )
        assert not (tried == 1).any()


@pytest.mark.parametrize("cross_check", [True, False])
def test_no_choice_of_survivor_sets_opens_both_secrets_of_a_label(cross_check: bool) -> None:
    """Holders are shown the victim alive and dropped by turns, and two colluding ones give whatever helps."""
    for shown_alive in range(8):
        table = joined(cross_check=cross_check)
        request = table.request(1, ELEMENTS)
        table.report(request, ones(table))
        aggregator, everyone = table.aggregator, tuple(table.participants)
        without = tuple(label for label in everyone if label != VICTIM)
        gathering = aggregator._gathering
        assert gathering is not None
        given = {everyone: 2, without: 2}  # of the colluding holders, for both sets
        for place, label in enumerate(label for label in everyone[2:]):
            survivors = everyone if place < shown_alive else without
            opening = replace(gathering.opening, survivors=survivors)
            signatures = ()
            if cross_check:
                digest = gathering.round.survivors_digest(survivors)
                signatures = tuple(
                    Signature(signer, table.identities[signer].sign(purpose="cross-check", message=digest))
                    for signer in everyone[:2]
                    if signer in survivors
                )
            asked = UnmaskRequest(request.run, 1, survivors, signatures, opening.delivery(label))
            try:
                table.participants[label].unmask(asked)
            except RemoteProtocolError:
                continue
            given[survivors] += 1
        assert min(given.values()) < 5


def test_two_preparations_of_one_label_give_a_coordinator_nothing_to_choose_from() -> None:
    """It asks twice, naming one set to some labels and another set to others: they are not in the same round."""
    table = joined()
    session = table.aggregator.session
    victim = table.participants[VICTIM]
    first, second = (victim.prepare(PrepareRequest(session.run, session.digest, 1)) for _ in range(2))
    assert first.commitment != second.commitment
    assert first.tags == second.tags  # the same keys lie in both vaults
    table.aggregator.prepare_requests(1)
    table.aggregator._preparations[VICTIM] = first
    told = table.aggregator.start_round(1, Kind.TRAIN, table.participants, PARAMETERS_DIGEST, ELEMENTS)
    other = replace(
        told,
        participants=tuple(Prepared(i.label, second.digest) if i.label == VICTIM else i for i in told.participants),
    )
    with pytest.raises(violations.Equivocation):
        victim.accept(told, PARAMETERS_DIGEST)
    victim.accept(other, PARAMETERS_DIGEST)
    victim.report(np.ones(ELEMENTS, np.uint32))
    table.report(told, ones(table), {VICTIM: Moment.BEFORE_REPORT})
    checks = table.aggregator.close_reports()
    table.participants[ME].answer(checks[ME])
    everyone = tuple(table.participants)
    theirs = victim.cross_check(replace(checks[ME], survivors=everyone))
    assert not any(
        theirs.signature == table.identities[VICTIM].sign(purpose="cross-check", message=digest)
        for digest in (
            table.aggregator._gathering.round.survivors_digest(everyone),  # type: ignore[union-attr]
            table.aggregator._gathering.round.survivors_digest(tuple(checks)),  # type: ignore[union-attr]
        )
    )


def test_nothing_of_one_run_counts_in_another_of_the_same_labels() -> None:
    """Same labels, same identity keys, same configuration: adverts, preparations, reports and shares are refused."""
    one = joined()
    fresh = InMemoryRounds(7)
    fresh.identities, fresh.agreement = one.identities, one.agreement
    aggregator = type(one.aggregator)(one.agreement, replace(one.aggregator.announcement, run=os.urandom(16)))
    fresh.aggregator = aggregator
    for advert in one.aggregator.adverts.values():
        with pytest.raises(violations.WrongRun):
            aggregator.receive(advert)
    fresh.join()
    request = one.request(1, ELEMENTS)
    one.report(request, ones(one))
    with pytest.raises(violations.WrongRun):
        fresh.participants[ME].accept(request, PARAMETERS_DIGEST)
    renamed = replace(request, run=aggregator.announcement.run)
    with pytest.raises(violations.WrongSession):
        fresh.participants[ME].accept(renamed, PARAMETERS_DIGEST)
    with pytest.raises(violations.Equivocation):  # even under the right session, its preparation is another
        fresh.participants[ME].accept(replace(renamed, session=aggregator.session.digest), PARAMETERS_DIGEST)
    fresh.request(1, ELEMENTS)
    for label in one.participants:
        stage = one.participants[label]._stage
        assert stage.prepared not in {p._stage.prepared for p in fresh.participants.values()}  # type: ignore[union-attr]


def test_a_coordinator_that_puts_keys_of_its_own_between_two_labels_is_found_out_by_both() -> None:
    """Keys in adverts are signed; a ciphertext is not signed by itself, but another one makes another key."""
    table = advertised()
    roster = table.aggregator.fix_members()[ME]
    evil = RunKey.generate()
    for changed in ({"public_key": evil.public}, {"encapsulation_key": evil.encapsulation}):
        adverts = tuple(
            replace(advert, **changed) if advert.label == VICTIM else advert  # type: ignore[arg-type]
            for advert in roster.adverts
        )
        with pytest.raises(violations.BadSignature):
            table.participants[ME].reveal(replace(roster, adverts=adverts))
    for label, sent in dict.fromkeys(table.participants, roster).items():
        table.aggregator.receive(table.participants[label].reveal(sent))
    for label, nonces in table.aggregator.close_reveals().items():
        table.aggregator.receive(table.participants[label].encapsulate(nonces))
    pairings = table.aggregator.close_ciphertexts()
    target = next(iter(pairings[ME].ciphertexts)).label
    known, ciphertext = encapsulate(table.aggregator.adverts[ME].encapsulation_key)  # the coordinator knows this one
    changed_items = tuple(
        Encapsulated(item.label, ciphertext) if item.label == target else item for item in pairings[ME].ciphertexts
    )
    pairings[ME] = replace(pairings[ME], ciphertexts=changed_items)
    for label, pairing in pairings.items():
        table.aggregator.receive(table.participants[label].pair(pairing))
    assert len(known) == 32
    assert not {ME, target} & set(table.aggregator.ready(1))
    mine, theirs = (table.participants[label]._stage.pairs for label in (ME, target))  # type: ignore[union-attr]
    assert mine.links[target] != theirs.links[ME]
    assert table.aggregator.disputes == (tuple(sorted((ME, target))),)
