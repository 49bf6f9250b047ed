"""One version back is understood: rounds recorded with the former release, and what each side makes of versions.

`tests/formats/protocol_2/rounds.json` was recorded with the code of commit cd5276d, which spoke version 2 alone:
what a coordinator and four labels said in a set-up and three rounds, from one of which a label vanished.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sottovoce.errors import LocalProtocolError, RoundAborted
from sottovoce.federation.agreement import Agreement, Member
from sottovoce.federation.identity import Identity
from sottovoce.protocol.adverts import roster_of
from sottovoce.protocol.aggregator import Aggregator
from sottovoce.protocol.message import FORMER_VERSION, SPOKEN, VERSION
from sottovoce.protocol.messages import (
    Announcement,
    Message,
    Preparation,
    PrepareRequest,
    Refusal,
    ReportRequest,
    Roster,
    RunOver,
    Versions,
    VersionsRequest,
    decode,
)
from sottovoce.protocol.participant import Participant
from sottovoce.protocol.versions import (
    MARK,
    Negotiation,
    check_no_downgrade,
    join_tag_of,
    marked_nonce,
    newest_of,
    stated,
)
from sottovoce.protocol.violations import BadSignature, Downgraded, Malformed, WrongAgreement, WrongRun, WrongVersion
from sottovoce_simulations.engine.in_process_rounds import PARAMETERS_DIGEST, InMemoryRounds

RECORDED: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "formats" / "protocol_2" / "rounds.json").read_text(encoding="utf-8")
)
ME = "label-000"
STEPS = [step for step in RECORDED["steps"] if step["step"] != "finish"]
MINE = [(step["step"], step["labels"][ME]) for step in STEPS if "before" in step["labels"].get(ME, {})]
TOLD_APART = ("fix_members", "close_reports", "close_cross_check")
"""Steps whose answers hold nothing random, so that they are the same from every release."""


def agreed() -> Agreement:
    known = RECORDED["agreement"]
    members = tuple(Member(name, bytes.fromhex(key)) for name, key in sorted(known["members"].items()))
    return Agreement(known["federation"], bytes.fromhex(known["coordinator_key"]), members, known["n_min"])


def said(text: str) -> Message:
    return decode(bytes.fromhex(text))


def identity_of(label: str, folder: Path) -> Identity:
    file = folder / "identity"
    file.write_bytes(bytes.fromhex(RECORDED["identities"][label]))
    file.chmod(0o600)
    return Identity.load(file)


def test_a_coordinator_of_today_opens_the_sums_of_labels_of_the_former_release() -> None:
    """It sends them, to the byte, what the coordinator of their own release did."""
    announcement = said(STEPS[0]["labels"][ME]["asked"])
    assert isinstance(announcement, Announcement)
    assert announcement.version == FORMER_VERSION
    aggregator, number = Aggregator(agreed(), announcement), 0
    for step in RECORDED["steps"]:
        labels = step.get("labels", {})
        match step["step"]:
            case "announce":
                sent: dict[str, Message] = dict.fromkeys(labels, announcement)
            case "prepare_requests":
                number += 1
                sent = dict(aggregator.prepare_requests(number))
            case "start_round":
                ready = aggregator.ready(number)
                kind = said(next(iter(labels.values()))["asked"]).kind  # type: ignore[attr-defined]
                sent = dict.fromkeys(ready, aggregator.start_round(number, kind, ready, PARAMETERS_DIGEST, 5))
            case "finish":
                total = aggregator.finish()
                assert (total.vector.tolist(), list(total.survivors)) == (step["sum"], step["survivors"])
                continue
            case name:
                sent = getattr(aggregator, name)()
        assert {label: message.encode().hex() for label, message in sent.items()} == {
            label: each["asked"] for label, each in labels.items()
        }
        for each in labels.values():
            if "said" in each:
                aggregator.receive(said(each["said"]))
    assert number == 3
    assert not aggregator.liars


@pytest.mark.parametrize("place", range(len(MINE)), ids=[f"{place}-{step}" for place, (step, _) in enumerate(MINE)])
def test_a_label_of_today_goes_on_from_every_state_of_the_former_release(place: int, tmp_path: Path) -> None:
    step, mine = MINE[place]
    state = bytes.fromhex(mine["before"])
    participant = Participant.from_bytes(state, identity=identity_of(ME, tmp_path), agreement=agreed())
    assert participant.to_bytes() == state
    request = said(mine["asked"])
    if isinstance(request, ReportRequest):
        accepted = participant.accept(request, PARAMETERS_DIGEST)
        answer: Message = participant.report(participant._ring.zeros(accepted.elements))
    else:
        answer = participant.answer(request)
    if step in TOLD_APART:
        assert answer.encode().hex() == mine["said"]
    assert (type(answer), answer.version) == (type(said(mine["said"])), FORMER_VERSION)
    assert participant.to_bytes()[:5] == b"SoVs\x02"  # which the former release reads, should the label go back


def test_the_former_releases_other_messages_are_read() -> None:
    over, refusal = said(RECORDED["over"]), said(RECORDED["refusal"])
    assert isinstance(over, RunOver)
    assert over.is_signed_by(agreed().coordinator_key)
    assert isinstance(refusal, Refusal)
    assert refusal.is_signed_by(roster_of(agreed())[refusal.label])


def test_a_message_of_another_version_than_its_runs_changes_nothing() -> None:
    table = InMemoryRounds(3)
    table.advertise()
    aggregator, participant = table.aggregator, table.participants[ME]
    roster = aggregator.fix_members()[ME]
    former = replace(
        roster, adverts=tuple(replace(advert, version=FORMER_VERSION) for advert in roster.adverts), version=2
    )
    before = participant.to_bytes()
    with pytest.raises(WrongVersion, match="A Roster is of version 2 of the protocol; the run uses 3"):
        participant.answer(decode(former.encode()))
    assert participant.to_bytes() == before
    reveal = participant.reveal(roster)
    with pytest.raises(WrongVersion, match="the run uses 3"):
        aggregator.receive(replace(reveal, version=FORMER_VERSION))
    aggregator.receive(reveal)


def test_a_version_that_nobody_here_speaks_is_named() -> None:
    for version in (1, VERSION + 1):
        with pytest.raises(
            WrongVersion, match=f"version {version} of the protocol; this release speaks 2 to 3"
        ) as caught:
            decode(b"SoVo" + bytes([version, 1]) + bytes(100))
        assert "docs/upgrade.md" in (caught.value.hint or "")


def test_a_message_holds_no_message_of_another_version_and_no_version_out_of_place() -> None:
    table = InMemoryRounds(3)
    table.advertise()
    roster = table.aggregator.fix_members()[ME]
    with pytest.raises(LocalProtocolError, match="of another version"):
        Roster(roster.run, roster.adverts, version=FORMER_VERSION)
    for version in (0, 1, VERSION + 1):
        with pytest.raises(LocalProtocolError, match=f"version {version}"):
            PrepareRequest(bytes(16), bytes(32), 1, version=version)
    with pytest.raises(LocalProtocolError, match="version 3"):
        VersionsRequest(bytes(16), bytes(32), version=VERSION)
    with pytest.raises(Malformed):
        decode(b"SoVo\x03\x12" + bytes(48))


@pytest.mark.parametrize(
    ("stated_by", "silent", "chosen"),
    [
        ({"a": (2, 3), "b": (2, 3), "c": (2, 3)}, 0, 3),
        ({"a": (2, 3), "b": (2, 3)}, 1, 2),  # a label of the former release does not answer
        ({"a": (2, 3), "b": (2, 2), "c": (2, 3)}, 0, 2),
        ({"a": (3, 3), "b": (2, 3), "c": (3, 4)}, 1, 3),  # no version for all: the one that most speak
        ({"a": (3, 3), "b": (2, 3)}, 2, 2),
        ({"a": (3, 3), "b": (2, 3)}, 1, 3),  # as many speak either: the newer one
        ({"a": (4, 5), "b": (2, 5)}, 1, 2),
        ({}, 3, 2),
    ],
)
def test_a_run_uses_the_newest_version_that_all_or_else_most_speak(
    stated_by: dict[str, tuple[int, int]], silent: int, chosen: int
) -> None:
    identities = {label: Identity.generate() for label in stated_by}
    known: dict[str, Any] = {"run": bytes(16), "agreement": bytes(32)}
    negotiation = Negotiation(bytes(16), bytes(32), {label: each.public_key for label, each in identities.items()})
    for label, (oldest, newest) in stated_by.items():
        answer = Versions.sign(identities[label], **known, label=label, oldest=oldest, newest=newest)
        negotiation.take(decode(answer.encode()))  # type: ignore[arg-type]
    assert negotiation.chosen(stated_by, silent=silent) == chosen
    out = negotiation.left_out(chosen)
    assert out.keys() == {label for label, (least, most) in stated_by.items() if not least <= chosen <= most}
    for label, why in out.items():
        least, most = stated_by[label]
        spoken = f"version {least} only" if least == most else f"versions {least} to {most} only"
        assert why == f"the run uses version {chosen} of the protocol, and it speaks {spoken}"


def test_what_a_label_speaks_is_its_own_word() -> None:
    identity, run, agreement = Identity.generate(), bytes(16), bytes(32)
    negotiation = Negotiation(run, agreement, {ME: identity.public_key})
    answer = stated(negotiation.request, identity, label=ME, agreement=agreement, oldest=0)
    assert (answer.oldest, answer.newest) == SPOKEN
    assert stated(negotiation.request, identity, label=ME, agreement=agreement, oldest=3).oldest == 3
    with pytest.raises(WrongAgreement):
        stated(negotiation.request, identity, label=ME, agreement=bytes([1] * 32), oldest=0)
    for changed, error in (
        (replace(answer, newest=2), BadSignature),
        (replace(answer, run=bytes([1] * 16)), WrongRun),
        (replace(answer, agreement=bytes([1] * 32)), WrongAgreement),
    ):
        with pytest.raises(error):
            negotiation.take(changed)
    assert negotiation.spoken_by(ME) == range(2, 3)
    negotiation.show(ME, 3)  # its nonce says so, though its answer did not arrive
    assert negotiation.spoken_by(ME) == range(2, 4)
    negotiation.show(ME, 2)
    assert negotiation.spoken_by(ME) == range(2, 4)
    with pytest.raises(LocalProtocolError, match="cannot speak versions 3 to 2"):
        replace(answer, oldest=3, newest=2)


def test_a_nonce_says_what_its_label_speaks_and_is_drawn_anew() -> None:
    nonces = {marked_nonce() for _ in range(100)}
    assert len({nonce[:18] for nonce in nonces}) == 100
    assert {len(nonce) for nonce in nonces} == {32}
    assert {newest_of(nonce) for nonce in nonces} == {VERSION}
    assert newest_of(bytes(32)) == FORMER_VERSION
    assert newest_of(bytes(31) + bytes([VERSION])) == FORMER_VERSION  # its last byte happens to be a version
    assert newest_of(bytes(24) + MARK + bytes([1])) == FORMER_VERSION
    assert newest_of(bytes(23) + MARK + bytes([VERSION, 0])) == FORMER_VERSION


def test_a_nonce_holds_its_labels_join_tag_or_random_bytes() -> None:
    assert join_tag_of(marked_nonce(b"abcdef")) == b"abcdef"
    assert len({marked_nonce(b"abcdef") for _ in range(100)}) == 100
    assert len({join_tag_of(marked_nonce()) for _ in range(100)}) == 100
    assert join_tag_of(bytes(32)) is None  # of the former release


@pytest.mark.parametrize(
    ("version", "newest", "met", "refused"),
    [
        (2, (3, 3, 3), 3, True),
        (2, (3, 3, 3), 0, False),  # the coordinator may be of the former release
        (2, (3, 3, 3), 2, False),
        (2, (3, 2, 3), 3, False),  # one member is
        (3, (3, 3, 3), 3, False),
        (3, (4, 4, 4), 4, False),  # this release speaks no newer one
    ],
)
def test_a_run_is_in_no_older_version_than_all_that_take_part_speak(
    version: int, newest: tuple[int, ...], met: int, refused: bool
) -> None:
    nonces = [bytes(24) + MARK + bytes([each]) if each > 2 else bytes(32) for each in newest]
    if not refused:
        check_no_downgrade(version, nonces, met)
        return
    with pytest.raises(Downgraded, match="uses version 2 of the protocol, but all its members and its coordinator"):
        check_no_downgrade(version, nonces, met)


def test_a_set_up_is_repeated_in_a_newer_version() -> None:
    """A label of the former release did not complete it: the others speak a newer one."""
    table = InMemoryRounds(4)
    aggregator = table.aggregator
    aggregator.announced_in(FORMER_VERSION)
    table.advertise()
    again = aggregator.start_again(without=["label-003"], version=VERSION)
    assert again.version == VERSION
    for label in ("label-000", "label-001", "label-002"):
        advert = table.participants[label].join_again(again)
        assert advert.version == VERSION
        aggregator.receive(advert)
    table._answer(aggregator.fix_members())
    table._answer(aggregator.close_reveals())
    table._answer(aggregator.close_ciphertexts())
    assert aggregator.session.members == ("label-000", "label-001", "label-002")
    assert table.participants[ME].version == VERSION
    assert {type(each) for each in aggregator._preparations.values()} == {Preparation}
    kept = Aggregator(table.agreement, replace(aggregator.announcement, version=FORMER_VERSION))
    kept.restore([decode(message) for message in aggregator.setup_messages()], 0)
    assert kept.announcement.version == VERSION
    assert kept.session == aggregator.session
    with pytest.raises(RoundAborted, match="Only 0 labels"):
        Aggregator(table.agreement, aggregator.announcement).restore([], 0)


def test_an_announcement_has_the_version_that_it_is_made_for() -> None:
    config = InMemoryRounds(3).aggregator.announcement.config
    assert Announcement.of(agreed(), config, version=FORMER_VERSION).version == FORMER_VERSION
    assert Announcement.of(agreed(), config).version == VERSION


def test_a_cross_check_of_another_version_is_refused() -> None:
    table = InMemoryRounds(3, ring_bits=16)
    table.join()
    table.report(table.request(1, 5), {label: np.zeros(5, np.uint16) for label in table.participants})
    request = table.aggregator.close_reports()[ME]
    with pytest.raises(WrongVersion, match="the run uses 3"):
        table.participants[ME].cross_check(replace(request, version=FORMER_VERSION))
