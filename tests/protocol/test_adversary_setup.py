"""A coordinator or colluding labels at work on the set-up: each trick has its own error, and nothing is revealed."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import pytest

from sottovoce.errors import LocalProtocolError, RemoteProtocolError, RoundAborted
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.identity import Identity
from sottovoce.federation.refusals import RefusalReason
from sottovoce.protocol import membership, violations
from sottovoce.protocol.aggregator import Aggregator
from sottovoce.protocol.keys import RunKey
from sottovoce.protocol.messages import (
    Advert,
    Announcement,
    Ciphertexts,
    Encapsulated,
    Message,
    Pairing,
    Refusal,
    Reveal,
    Roster,
)
from sottovoce.protocol.participant import Participant
from sottovoce.run.configuration import DistributedNoise
from sottovoce_simulations.engine.in_process_rounds import InMemoryRounds, plain_config

ME = "label-000"
LABELS = 7
ADVERT = tuple(name for name in Advert.__dataclass_fields__ if name not in ("TYPE", "PURPOSE", "signature"))


def joined(labels: int = LABELS, **options: object) -> InMemoryRounds:
    """A table whose labels have all advertised, and nothing more."""
    table = InMemoryRounds(labels, **options)  # type: ignore[arg-type]
    table.advertise()
    return table


@pytest.fixture
def table() -> InMemoryRounds:
    return joined(n_min=5)


def refused(error: type[RemoteProtocolError], participant: Participant, message: Message) -> None:
    """The message raises exactly this error, and the participant is as it was."""
    before = participant.to_bytes()
    with pytest.raises(RemoteProtocolError) as caught:
        participant.answer(message)
    assert type(caught.value) is error
    assert participant.to_bytes() == before


def signed_again(table: InMemoryRounds, advert: Advert, **changes: object) -> Advert:
    """The advert that a corrupt label could make of its own."""
    values = {name: getattr(advert, name) for name in ADVERT}
    return Advert.sign(table.identities[advert.label], **{**values, **changes})


@dataclass(frozen=True)
class Trick:
    """How a valid roster is altered, and the error that must result."""

    error: type[RemoteProtocolError]
    change: Callable[[InMemoryRounds, Roster], Roster]


def adverts(roster: Roster, *changed: Advert) -> Roster:
    new = {advert.label: advert for advert in changed}
    return replace(roster, adverts=tuple(new.get(advert.label, advert) for advert in roster.adverts))


def sorted_adverts(roster: Roster, more: Iterable[Advert]) -> Roster:
    return replace(roster, adverts=tuple(sorted((*roster.adverts, *more), key=lambda advert: advert.label)))


def stranger(table: InMemoryRounds, roster: Roster) -> Roster:
    advert = roster.adverts[1]
    unknown = Advert.sign(
        Identity.generate(),
        run=advert.run,
        agreement=advert.agreement,
        label="stranger",
        public_key=RunKey.generate().public,
        encapsulation_key=RunKey.generate().encapsulation,
        commitment=bytes(32),
        config_digest=advert.config_digest,
        epsilon=8.0,
        delta=1e-5,
    )
    return sorted_adverts(roster, [unknown])


def bit_255(public: bytes) -> bytes:
    """The same point, spelt another way."""
    return public[:-1] + bytes([public[-1] | 0x80])


def other_config(table: InMemoryRounds, advert: Advert) -> Advert:
    return signed_again(table, advert, config_digest=plain_config(32).changed(update_clip=2.0).digest)


def other_run(table: InMemoryRounds, advert: Advert) -> Advert:
    return signed_again(table, advert, run=bytes(16))


TRICKS = {
    "another run": Trick(violations.WrongRun, lambda table, roster: replace(roster, run=bytes(16))),
    "fewer than n_min": Trick(
        violations.TooFewParticipants, lambda table, roster: replace(roster, adverts=roster.adverts[:4])
    ),
    "without me": Trick(violations.NotAParticipant, lambda table, roster: replace(roster, adverts=roster.adverts[1:])),
    "an unknown label": Trick(violations.UnknownLabel, stranger),
    "a label twice": Trick(
        violations.DuplicateParticipant, lambda table, roster: sorted_adverts(roster, [roster.adverts[2]])
    ),
    "a label twice, under two keys": Trick(
        violations.DuplicateParticipant,
        lambda table, roster: sorted_adverts(
            roster, [signed_again(table, roster.adverts[2], public_key=RunKey.generate().public)]
        ),
    ),
    "a key twice": Trick(
        violations.DuplicateParticipant,
        lambda table, roster: adverts(
            roster, signed_again(table, roster.adverts[1], public_key=roster.adverts[2].public_key)
        ),
    ),
    "not in order": Trick(violations.Malformed, lambda table, roster: replace(roster, adverts=roster.adverts[::-1])),
    "a key that nobody signed": Trick(
        violations.BadSignature,
        lambda table, roster: adverts(roster, replace(roster.adverts[3], public_key=bytes(range(32)))),
    ),
    "a higher promise": Trick(
        violations.BadSignature, lambda table, roster: adverts(roster, replace(roster.adverts[3], epsilon=1.0))
    ),
    "another configuration": Trick(
        violations.ConfigurationChanged,
        lambda table, roster: adverts(roster, other_config(table, roster.adverts[3])),
    ),
    "another configuration for all": Trick(
        violations.ConfigurationChanged,
        lambda table, roster: adverts(roster, *(other_config(table, advert) for advert in roster.adverts)),
    ),
    "an advert of another run": Trick(
        violations.WrongRun, lambda table, roster: adverts(roster, other_run(table, roster.adverts[3]))
    ),
    "an advert under another agreement": Trick(
        violations.WrongAgreement,
        lambda table, roster: adverts(roster, signed_again(table, roster.adverts[3], agreement=bytes(32))),
    ),
    "another advert of mine": Trick(
        violations.Equivocation,
        lambda table, roster: adverts(roster, signed_again(table, roster.adverts[0], epsilon=9.0)),
    ),
    "an encapsulation key twice": Trick(
        violations.DuplicateParticipant,
        lambda table, roster: adverts(
            roster,
            signed_again(table, roster.adverts[1], encapsulation_key=roster.adverts[2].encapsulation_key),
        ),
    ),
    "a key that a second one passes for": Trick(
        violations.BadKey,
        lambda table, roster: adverts(
            roster, signed_again(table, roster.adverts[3], public_key=bit_255(roster.adverts[3].public_key))
        ),
    ),
    "a key beyond the field": Trick(
        violations.BadKey,
        lambda table, roster: adverts(
            roster, signed_again(table, roster.adverts[3], public_key=(2**255 - 19 + 9).to_bytes(32, "little"))
        ),
    ),
    "an encapsulation key that is none": Trick(
        violations.BadKey,
        lambda table, roster: adverts(roster, signed_again(table, roster.adverts[3], encapsulation_key=b"\xff" * 1184)),
    ),
    "a key of small order": Trick(
        violations.BadKey,
        lambda table, roster: adverts(roster, signed_again(table, roster.adverts[3], public_key=bytes(32))),
    ),
}


@pytest.mark.parametrize("name", TRICKS)
def test_a_roster_with_a_trick_in_it_reveals_nothing(table: InMemoryRounds, name: str) -> None:
    trick, participant = TRICKS[name], table.participants[ME]
    roster = table.aggregator.fix_members()[ME]
    changed = trick.change(table, roster)
    assert changed != roster
    refused(trick.error, participant, changed)
    participant.reveal(roster)


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


@pytest.mark.usefixtures("small_committee")
@pytest.mark.parametrize(("labels", "cross_check"), [(6, False), (6, True), (7, False), (7, True)])
def test_a_run_of_more_labels_than_hold_shares_needs_a_cross_check(labels: int, cross_check: bool) -> None:
    table = joined(labels, cross_check=cross_check)
    roster = Roster(table.aggregator.announcement.run, tuple(table.aggregator.adverts.values()))
    if labels > 6 and not cross_check:
        with pytest.raises(LocalProtocolError, match="cross_check"):
            table.aggregator.fix_members()
        refused(violations.TooManyParticipants, table.participants[ME], roster)
    else:
        assert table.aggregator.fix_members()[ME] == roster
        table.participants[ME].reveal(roster)


def test_a_label_wants_as_many_members_as_its_policy_does(table: InMemoryRounds) -> None:
    def careful(least: int) -> Participant:
        return Participant.from_bytes(
            table.participants[ME].to_bytes(),
            identity=table.identities[ME],
            agreement=table.agreement,
            least_survivors=least,
        )

    roster = table.aggregator.fix_members()[ME]
    refused(violations.TooFewParticipants, careful(LABELS + 1), roster)
    careful(LABELS).reveal(roster)


@pytest.mark.parametrize(
    ("labels", "n_min", "least", "honest"),
    [
        (7, 3, 0, 3),  # five survivors of seven, of which two may collude
        (7, 6, 0, 4),
        (7, 6, 7, 5),
        (3, 3, 0, 2),  # nobody may collude, but one may be curious and knows its own noise
    ],
)
def test_a_run_whose_sums_could_carry_less_noise_than_was_agreed_on_is_refused(
    labels: int, n_min: int, least: int, honest: int
) -> None:
    for min_honest in (honest, honest + 1):
        table = InMemoryRounds(labels, n_min=n_min)
        noise = DistributedNoise(min_honest=min_honest, noise_multiplier=1.0, sample_rate=0.1)
        config = plain_config(32).changed(distributed=noise)
        table.aggregator = Aggregator(table.agreement, Announcement.of(table.agreement, config))
        table.advertise()
        participant = Participant.from_bytes(
            table.participants[ME].to_bytes(),
            identity=table.identities[ME],
            agreement=table.agreement,
            least_survivors=least,
        )
        roster = table.aggregator.fix_members()[ME]
        if min_honest > honest:
            refused(violations.TooFewParticipants, participant, roster)
        else:
            participant.reveal(roster)


def revealed(table: InMemoryRounds) -> None:
    for label, roster in table.aggregator.fix_members().items():
        table.aggregator.receive(table.participants[label].reveal(roster))


def test_a_nonce_is_revealed_once_and_as_committed(table: InMemoryRounds) -> None:
    revealed(table)
    nonces, participant = table.aggregator.close_reveals()[ME], table.participants[ME]
    first, *others = nonces.reveals

    def again(**changes: object) -> Reveal:
        values = {name: getattr(others[0], name) for name in ("run", "roster", "label", "nonce")}
        return Reveal.sign(table.identities[others[0].label], **{**values, **changes})

    for error, reveals in (
        (violations.WrongNonce, (first, again(nonce=os.urandom(32)), *others[1:])),
        (violations.WrongSession, (first, again(roster=bytes(32)), *others[1:])),
        (violations.WrongRun, (first, again(run=bytes(16)), *others[1:])),
        (violations.BadSignature, (first, replace(others[0], signature=bytes(64)), *others[1:])),
        (violations.WrongNonce, (first, *others[1:])),
        (violations.WrongNonce, (*others, first)),
        (violations.WrongNonce, (first, first, *others[1:])),
    ):
        refused(error, participant, replace(nonces, reveals=reveals))
    refused(violations.WrongRun, participant, replace(nonces, run=bytes(16)))
    participant.encapsulate(nonces)
    refused(violations.OutOfOrder, participant, nonces)


def test_a_coordinator_refuses_what_is_not_a_members_part_of_the_draw(table: InMemoryRounds) -> None:
    rosters = table.aggregator.fix_members()
    good = table.participants[ME].reveal(rosters[ME])
    values = {name: getattr(good, name) for name in ("run", "roster", "label", "nonce")}
    for error, changes in (
        (violations.WrongNonce, {"nonce": bytes(32)}),
        (violations.WrongSession, {"roster": bytes(32)}),
        (violations.WrongRun, {"run": bytes(16)}),
        (violations.NotAParticipant, {"label": "stranger"}),
    ):
        with pytest.raises(RemoteProtocolError) as caught:
            table.aggregator.receive(Reveal.sign(table.identities[ME], **{**values, **changes}))
        assert type(caught.value) is error
    assert ME in table.aggregator.missing
    table.aggregator.receive(good)
    assert ME not in table.aggregator.missing


def test_a_coordinator_takes_a_labels_signed_ciphertexts_for_exactly_its_peers(table: InMemoryRounds) -> None:
    revealed(table)
    good = table.participants[ME].encapsulate(table.aggregator.close_reveals()[ME])
    values = {name: getattr(good, name) for name in ("run", "session", "label", "ciphertexts")}
    first, second, *others = good.ciphertexts
    exchanged = (replace(first, ciphertext=second.ciphertext), second, *others)
    for error, message in (
        (violations.WrongRun, Ciphertexts.sign(table.identities[ME], **{**values, "run": bytes(16)})),
        (violations.WrongSession, Ciphertexts.sign(table.identities[ME], **{**values, "session": bytes(32)})),
        (violations.WrongCiphertexts, Ciphertexts.sign(table.identities[ME], **{**values, "ciphertexts": others})),
        (violations.BadSignature, replace(good, ciphertexts=exchanged)),
        (violations.NotAParticipant, replace(good, label="stranger")),
    ):
        with pytest.raises(RemoteProtocolError) as caught:
            table.aggregator.receive(message)
        assert type(caught.value) is error
    table.aggregator.receive(good)


def paired(table: InMemoryRounds) -> dict[str, Pairing]:
    revealed(table)
    for label, nonces in table.aggregator.close_reveals().items():
        table.aggregator.receive(table.participants[label].encapsulate(nonces))
    return table.aggregator.close_ciphertexts()


def test_ciphertexts_are_exactly_those_of_the_peers(table: InMemoryRounds) -> None:
    pairing, participant = paired(table)[ME], table.participants[ME]
    items = pairing.ciphertexts
    assert 0 < len(items) < LABELS - 1
    for error, changed in (
        (violations.WrongCiphertexts, replace(pairing, ciphertexts=items[1:])),
        (violations.WrongCiphertexts, replace(pairing, ciphertexts=(*items, Encapsulated("z", bytes(1088))))),
        (violations.WrongSession, replace(pairing, session=bytes(32))),
        (violations.WrongRun, replace(pairing, run=bytes(16))),
    ):
        refused(error, participant, changed)


def test_a_ciphertext_that_was_exchanged_on_its_way_shows_before_the_first_round(table: InMemoryRounds) -> None:
    """The two labels' keys differ, and so do the tags that they show of them."""
    pairings = paired(table)
    items = pairings[ME].ciphertexts
    changed = Encapsulated(items[0].label, items[1].ciphertext)
    pairings[ME] = replace(pairings[ME], ciphertexts=(changed, *items[1:]))
    for label, pairing in pairings.items():
        table.aggregator.receive(table.participants[label].pair(pairing))
    ready = table.aggregator.ready(1)
    assert set(ready) == set(table.participants) - {ME, items[0].label}
    assert table.aggregator.disputes == ((ME, items[0].label),)
    assert not table.aggregator.liars


def test_a_set_up_begins_anew_without_who_did_not_complete_it(table: InMemoryRounds) -> None:
    aggregator, old = table.aggregator, dict(table.aggregator.adverts)
    rosters = aggregator.fix_members()
    for label, roster in rosters.items():
        if label != "label-006":
            aggregator.receive(table.participants[label].reveal(roster))
    assert aggregator.missing == ("label-006",)
    with pytest.raises(LocalProtocolError, match="'label-006' has not completed"):
        aggregator.close_reveals()
    announcement = aggregator.start_again(without=aggregator.missing)
    for label in sorted(rosters.keys() - {"label-006"}):
        aggregator.receive(table.participants[label].join_again(announcement))
    new = aggregator.adverts
    for name in ("public_key", "encapsulation_key", "commitment"):
        assert not {getattr(a, name) for a in old.values()} & {getattr(a, name) for a in new.values()}
    for label, pairing in paired(table).items():
        aggregator.receive(table.participants[label].pair(pairing))
    assert aggregator.ready(1) == tuple(sorted(new))


def test_the_set_up_waits_for_every_members_ciphertexts(table: InMemoryRounds) -> None:
    revealed(table)
    nonces = table.aggregator.close_reveals()
    for label in list(nonces)[1:]:
        table.aggregator.receive(table.participants[label].encapsulate(nonces[label]))
    assert table.aggregator.missing == (ME,)
    with pytest.raises(LocalProtocolError, match=f"'{ME}' has not completed"):
        table.aggregator.close_ciphertexts()


def test_a_run_that_is_not_set_up_has_neither_members_nor_rounds(table: InMemoryRounds) -> None:
    with pytest.raises(LocalProtocolError, match="not fixed yet"):
        _ = table.aggregator.missing
    with pytest.raises(LocalProtocolError, match="not set up yet"):
        table.aggregator.prepare_requests(1)


def test_who_is_not_in_a_new_set_up_stays_out_of_it_and_a_refusal_stays_known(table: InMemoryRounds) -> None:
    aggregator = Aggregator(table.agreement, table.aggregator.announcement)
    adverts = {label: member.advert for label, member in table.participants.items()}
    for label in ("label-000", "label-001"):
        aggregator.receive(adverts[label])
    reason = RefusalReason.PRIVACY
    values = {"run": adverts[ME].run, "agreement": table.agreement.digest, "label": "label-002", "reason": reason}
    aggregator.receive(Refusal.sign(table.identities["label-002"], **values))
    announcement = aggregator.start_again(without=["label-001"])
    assert aggregator.refusals == {"label-002": reason}
    for label in ("label-001", "label-002", "label-003"):
        with pytest.raises(violations.OutOfOrder):
            aggregator.receive(adverts[label])
    aggregator.receive(table.participants[ME].join_again(announcement))
    assert list(aggregator.adverts) == [ME]


def test_a_label_takes_part_in_a_limited_number_of_draws_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each draw is one more chance of a bad committee; a coordinator cannot draw until it has one."""
    monkeypatch.setattr(membership, "MOST_DRAWS", 3)
    table = joined(3)
    participant = table.participants[ME]
    for _ in range(3):
        participant.reveal(table.aggregator.fix_members()[ME])
        announcement = table.aggregator.start_again(without=())
        for member in table.participants.values():
            table.aggregator.receive(member.join_again(announcement))
    refused(violations.TooManyDraws, participant, table.aggregator.fix_members()[ME])


def test_a_set_up_that_is_complete_does_not_begin_anew(table: InMemoryRounds) -> None:
    for label, pairing in paired(table).items():
        table.participants[label].pair(pairing)
    with pytest.raises(violations.OutOfOrder):
        table.participants[ME].join_again(table.aggregator.announcement)


def test_another_run_does_not_begin_under_the_id_of_one_that_was_joined(table: InMemoryRounds) -> None:
    other = plain_config(32).changed(epsilon=1000.0)
    announcement = table.aggregator.announcement
    for changed in (
        replace(announcement, config_digest=other.digest, config_bytes=other.to_bytes()),
        replace(announcement, run=bytes(16)),
        replace(announcement, agreement=bytes(32)),
    ):
        with pytest.raises(violations.WrongRun):
            table.participants[ME].join_again(changed)


def test_a_run_of_too_few_is_not_set_up(table: InMemoryRounds) -> None:
    with pytest.raises(RoundAborted, match="Only 4 labels take part, and the agreement needs 5"):
        table.aggregator.fix_members(list(table.participants)[:4])
    with pytest.raises(LocalProtocolError, match="has not joined"):
        Aggregator(table.agreement, table.aggregator.announcement).fix_members([ME])
