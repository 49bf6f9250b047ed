"""docs/security.md: nobody lowers the version of the protocol unseen."""

from dataclasses import replace

import pytest

from sottovoce.protocol.message import FORMER_VERSION, VERSION
from sottovoce.protocol.messages import Nonces, Reveal, Roster
from sottovoce.protocol.participant import Participant
from sottovoce.protocol.versions import Negotiation, newest_of
from sottovoce.protocol.violations import BadSignature, Downgraded, RemoteProtocolError, WrongNonce
from sottovoce_simulations.engine.in_process_rounds import InMemoryRounds

ME = "label-000"


@pytest.fixture
def lowered() -> InMemoryRounds:
    """Labels of today, three, who have met this coordinator in version 3; it announces a run in version 2."""
    table = InMemoryRounds(3)
    table.aggregator.announced_in(FORMER_VERSION)
    for label, identity in table.identities.items():
        participant, advert = Participant.join(
            table.aggregator.announcement,
            label=label,
            identity=identity,
            agreement=table.agreement,
            epsilon=8.0,
            delta=1e-5,
            met=VERSION,
        )
        table.participants[label] = participant
        table.aggregator.receive(advert)
    table._answer(table.aggregator.fix_members())
    return table


def test_a_coordinator_that_says_that_others_speak_the_former_version_only_is_refused_by_all(
    lowered: InMemoryRounds,
) -> None:
    nonces = lowered.aggregator.close_reveals()
    for label, participant in lowered.participants.items():
        before = participant.to_bytes()
        with pytest.raises(Downgraded, match="all its members and its coordinator speak version 3"):
            participant.encapsulate(nonces[label])
        assert participant.to_bytes() == before


@pytest.mark.parametrize("trick", ["unmarked", "of a former set-up", "its own key"])
def test_what_a_label_speaks_cannot_be_taken_out_of_its_nonce(lowered: InMemoryRounds, trick: str) -> None:
    nonces = lowered.aggregator.close_reveals()[ME]
    mine, theirs, last = nonces.reveals
    unmarked = theirs.nonce[:24] + bytes(8)
    assert newest_of(unmarked) == FORMER_VERSION
    forged = {
        "unmarked": replace(theirs, nonce=unmarked),
        "of a former set-up": replace(theirs, nonce=bytes(32)),
        "its own key": Reveal.sign(
            lowered.identities[last.label],
            run=theirs.run,
            roster=theirs.roster,
            label=theirs.label,
            nonce=theirs.nonce,
            version=FORMER_VERSION,
        ),
    }[trick]
    with pytest.raises((WrongNonce, BadSignature)):
        lowered.participants[ME].encapsulate(Nonces(nonces.run, (mine, forged, last), version=FORMER_VERSION))


def test_an_advert_cannot_be_carried_into_another_version(lowered: InMemoryRounds) -> None:
    """A label's signature covers the version, so that a roster of another one holds nobody's advert."""
    table = InMemoryRounds(3)
    table.advertise()
    roster = table.aggregator.fix_members()[ME]
    former = tuple(replace(advert, version=FORMER_VERSION) for advert in roster.adverts)
    with pytest.raises(RemoteProtocolError):
        table.participants[ME].reveal(Roster(roster.run, former, version=FORMER_VERSION))
    assert not any(advert.is_signed_by(table.identities[advert.label].public_key) for advert in former)


def test_a_network_that_holds_back_what_labels_say_is_found_out_by_the_coordinator(lowered: InMemoryRounds) -> None:
    """It has heard of nobody that speaks version 3, and announces version 2; the nonces tell it better."""
    aggregator = lowered.aggregator
    heard = Negotiation(aggregator.announcement.run, lowered.agreement.digest, {})
    assert heard.chosen(lowered.participants) == FORMER_VERSION
    for label, nonce in aggregator.nonces.items():
        heard.show(label, newest_of(nonce))
    assert heard.chosen(lowered.participants) == VERSION


def test_one_label_that_speaks_the_former_version_is_reason_enough(lowered: InMemoryRounds) -> None:
    """The control: a member of the former release, which a colluding one can always claim to be."""
    last = lowered.participants["label-002"]
    again = lowered.aggregator.start_again(without=())
    for label, participant in lowered.participants.items():
        advert = participant.join_again(again)
        if participant is last:
            from sottovoce.protocol import membership

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(membership, "marked_nonce", lambda join_tag: bytes(32))
                advert = participant.join_again(again)
        lowered.aggregator.receive(advert)
        assert label == advert.label
    lowered._answer(lowered.aggregator.fix_members())
    nonces = lowered.aggregator.close_reveals()
    assert {message.version for message in map(lowered.participants[ME].encapsulate, [nonces[ME]])} == {FORMER_VERSION}
