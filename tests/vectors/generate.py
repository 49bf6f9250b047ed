"""Write the vectors of masked rounds: `python tests/vectors/generate.py`. Every key in them is for tests only.

Each vector names its expected result: `accepted`, or the class of the error. Keys are fresh each time, so the files
change whenever this runs; run it when the format changes. Tests use the files.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sottovoce.canonical import canonical_json
from sottovoce.federation.refusals import RefusalReason
from sottovoce.protocol.keys import (
    RunKey,
    encapsulate,
    key_tag,
    nonce_commitment,
    pair_secret,
    pair_tag,
    secret_commitment,
    share_tag,
)
from sottovoce.protocol.message import FORMER_VERSION
from sottovoce.protocol.messages import (
    Advert,
    CrossCheckRequest,
    Message,
    Prepared,
    PrepareRequest,
    Refusal,
    Report,
    ReportRequest,
    Roster,
    RunOver,
    Signature,
    Signed,
    UnmaskRequest,
    VersionsRequest,
)
from sottovoce.protocol.pair_keys import PairKeys
from sottovoce.protocol.participant import Participant
from sottovoce.protocol.prg import add_masks
from sottovoce.protocol.ring import Ring
from sottovoce.protocol.seal import seal
from sottovoce.protocol.session import Session
from sottovoce.protocol.shamir import split
from sottovoce.protocol.topology import Topology, partner_count, share_threshold, threshold
from sottovoce.protocol.versions import stated
from sottovoce_simulations.engine.in_process_rounds import PARAMETERS_DIGEST, InMemoryRounds, plain_config

FOLDER = Path(__file__).parent
ME = "label-000"
LABELS = 5  # t = 4
ELEMENTS = 6
RING_BITS = 24
Case = dict[str, Any]


def case(name: str, expect: str, **values: Any) -> Case:
    return {"name": name, "expect": expect, **values}


def signed(table: InMemoryRounds, message: Signed, **changes: object) -> Any:
    """The message changed, and signed again by its label."""
    fields = {name: getattr(message, name) for name in message.__dataclass_fields__ if name not in ("TYPE", "PURPOSE")}
    del fields["signature"]
    return type(message).sign(table.identities[message.label], **{**fields, **changes})


class Story:
    """A set-up and one round of five labels, the last of which drops out before it reports; everything is kept."""

    def __init__(self) -> None:
        self.table = table = InMemoryRounds(LABELS, ring_bits=RING_BITS, n_min=4)
        table.aggregator.announced_in(FORMER_VERSION)  # messages of the newest one differ in the number only
        self.states: dict[str, str] = {}
        self.said: list[Message] = [table.aggregator.announcement]
        table.advertise()
        self.adverts = table.aggregator.adverts
        self.said += [self.adverts[ME]]
        self.keep("joined")
        self.rosters, self.reveals = self.ask(table.aggregator.fix_members())
        self.keep("revealed")
        self.nonces, self.ciphertexts = self.ask(table.aggregator.close_reveals())
        self.keep("keyed")
        self.pairings, _ = self.ask(table.aggregator.close_ciphertexts())
        self.preparations = self.ask(table.aggregator.prepare_requests(3))[1]
        self.keep("idle")
        self.request = table.request(3, ELEMENTS)
        self.vectors = {
            label: np.arange(ELEMENTS, dtype=np.uint32) * 1000 + place
            for place, label in enumerate(list(table.participants)[:-1])
        }
        self.total = sum(vector.astype(np.uint64) for vector in self.vectors.values())
        self.reports: dict[str, Report] = {}
        for label in self.vectors:
            table.participants[label].accept(self.request, PARAMETERS_DIGEST)
        self.keep("reporting")
        for label, vector in self.vectors.items():
            self.reports[label] = table.participants[label].report(vector)
            table.aggregator.receive(self.reports[label])
        self.said += [self.request, self.reports[ME]]
        self.keep("reported")
        self.checks, self.signatures = self.ask(table.aggregator.close_reports())
        self.keep("checked")
        self.unmasks, self.shares = self.ask(table.aggregator.close_cross_check())
        self.sum = table.aggregator.finish()

    def ask(self, requests: Any) -> tuple[Any, Any]:
        """Ask labels, keep what this one was asked and says, and hand the answers to the coordinator."""
        answers = {label: self.table.participants[label].answer(request) for label, request in requests.items()}
        for answer in answers.values():
            self.table.aggregator.receive(answer)
        self.said += [requests[ME], answers[ME]]
        return requests, answers

    def keep(self, phase: str) -> None:
        """Keep the state that this label is in."""
        self.states[phase] = self.table.participants[ME].to_bytes().hex()


def decoding(story: Story) -> Case:
    refusal = Refusal.sign(
        story.table.identities[ME],
        run=story.request.run,
        agreement=story.table.agreement.digest,
        label=ME,
        reason=RefusalReason.PRIVACY,
        version=FORMER_VERSION,
    )
    over = RunOver.sign(
        story.table.identities[ME],  # any key: decoding checks no signature
        run=story.request.run,
        agreement=story.table.agreement.digest,
        round=3,
        parameters_digest=PARAMETERS_DIGEST,
        version=FORMER_VERSION,
    )
    messages = {type(message).__name__: message for message in (*story.said, refusal, over)}
    cases = []
    for name, message in messages.items():
        data = message.encode()
        cases += [
            case(f"{name}", "accepted", type=name, bytes=data.hex()),
            case(f"{name}, last byte missing", "Malformed", bytes=data[:-1].hex()),
            case(f"{name}, one byte too many", "Malformed", bytes=(data + b"\x00").hex()),
            case(f"{name}, another version", "WrongVersion", bytes=(data[:4] + b"\x01" + data[5:]).hex()),
            case(f"{name}, version 3", "accepted", type=name, bytes=(data[:4] + b"\x03" + data[5:]).hex()),
        ]
    cases += of_no_version(story)
    check = CrossCheckRequest(story.request.run, 3, ("a", "b")).encode()
    advert = story.adverts[ME].encode()
    cases += [
        case("nothing", "Malformed", bytes=""),
        case("another magic", "Malformed", bytes=(b"SoVa" + check[4:]).hex()),
        case("an unknown type", "Malformed", bytes=(check[:5] + b"\x12" + check[6:]).hex()),
        case("round 0", "Malformed", bytes=(check[:22] + bytes(4) + check[26:]).hex()),
        case("survivors out of order", "Malformed", bytes=(check[:-4] + b"\x01b\x01a").hex()),
        case("a survivor twice", "Malformed", bytes=(check[:-4] + b"\x01a\x01a").hex()),
        case("a name in capitals", "Malformed", bytes=(check[:-4] + b"\x01A\x01b").hex()),
        case("four billion survivors", "Malformed", bytes=(check[:-8] + b"\xff\xff\xff\xff\x01a\x01b").hex()),
        case("epsilon NaN", "Malformed", bytes=(advert[:-80] + b"\x7f\xf8" + bytes(6) + advert[-72:]).hex()),
        case("epsilon -0.0", "Malformed", bytes=(advert[:-80] + b"\x80" + bytes(7) + advert[-72:]).hex()),
        case("an unknown kind", "Malformed", bytes=story.request.encode().replace(b"\x05train", b"\x05brain").hex()),
    ]
    return {"about": "Bytes as `sottovoce.protocol.messages.decode` must take them.", "cases": cases}


def of_no_version(story: Story) -> list[Case]:
    """The messages by which a version is agreed, whose own is 0."""
    asked = VersionsRequest(story.request.run, story.table.agreement.digest)
    identity = story.table.identities[ME]
    answer = stated(asked, identity, label=ME, agreement=story.table.agreement.digest, oldest=0)
    cases = []
    for name, message in (("VersionsRequest", asked), ("Versions", answer)):
        data = message.encode()
        cases += [
            case(f"{name}", "accepted", type=name, bytes=data.hex()),
            case(f"{name}, last byte missing", "Malformed", bytes=data[:-1].hex()),
            case(f"{name}, one byte too many", "Malformed", bytes=(data + b"\x00").hex()),
            case(f"{name}, with a run's version", "Malformed", bytes=(data[:4] + b"\x03" + data[5:]).hex()),
        ]
    backwards = answer.encode()[:-66] + bytes([3, 2]) + bytes(64)
    return [*cases, case("Versions, from 3 to 2", "Malformed", bytes=backwards.hex())]


def complaint(story: Story, unmask: UnmaskRequest) -> Message:
    """What a label answers to a box that does not open."""
    table = story.table
    participant = Participant.from_bytes(
        bytes.fromhex(story.states["checked"]), identity=table.identities[ME], agreement=table.agreement
    )
    return participant.unmask(replace(unmask, boxes=(unmask.boxes[1], *unmask.boxes[1:])))


def label_side(story: Story) -> Case:
    table, request, states = story.table, story.request, story.states
    check, unmask = story.checks[ME], story.unmasks[ME]
    others = plain_config(RING_BITS).changed(update_clip=2.0)
    roster, nonces, pairing = story.rosters[ME], story.nonces[ME], story.pairings[ME]
    adverts = roster.adverts

    def with_adverts(*changed: Advert) -> Roster:
        return replace(roster, adverts=changed)

    def of(*participants: Prepared) -> ReportRequest:
        return replace(request, participants=participants)

    def told(name: str, expect: str, state: str, message: Message, answer: Message | None = None) -> Case:
        made = {} if answer is None else {"answer": answer.encode().hex()}
        return case(name, expect, state=state, message=message.encode().hex(), **made)

    own = RunKey.generate()
    stranger = Advert.sign(
        table.identities[ME],
        **{name: getattr(adverts[0], name) for name in ("run", "agreement", "config_digest", "epsilon", "delta")},
        label="stranger",
        public_key=own.public,
        encapsulation_key=own.encapsulation,
        commitment=bytes(32),
        version=FORMER_VERSION,
    )
    prepared = request.participants
    prepare = PrepareRequest(request.run, request.session, 4, version=FORMER_VERSION)
    few = check.survivors[:-1]
    return {
        "about": "A label in one of the states, which `Participant.from_bytes` reads, is told something.",
        "agreement": json.loads(canonical_json(table.agreement)),
        "identity": table.identities[ME]._private.private_bytes_raw().hex(),
        "parameters_digest": PARAMETERS_DIGEST.hex(),
        "states": states,
        "cases": [
            told("a roster", "accepted", "joined", roster, story.reveals[ME]),
            told("a roster again", "OutOfOrder", "revealed", roster),
            told("a roster of another run", "WrongRun", "joined", replace(roster, run=bytes(16))),
            told("below n_min", "TooFewParticipants", "joined", with_adverts(*adverts[:3])),
            told("without me", "NotAParticipant", "joined", with_adverts(*adverts[1:])),
            told("an unknown label", "UnknownLabel", "joined", with_adverts(*adverts, stranger)),
            told("a label twice", "DuplicateParticipant", "joined", with_adverts(*adverts, adverts[-1])),
            told("out of order", "Malformed", "joined", with_adverts(*reversed(adverts))),
            *(
                told(name, expect, "joined", with_adverts(*adverts[:-1], changed))
                for name, expect, changed in (
                    ("a key nobody signed", "BadSignature", replace(adverts[-1], public_key=own.public)),
                    (
                        "another configuration",
                        "ConfigurationChanged",
                        signed(table, adverts[-1], config_digest=others.digest),
                    ),
                    ("another agreement", "WrongAgreement", signed(table, adverts[-1], agreement=bytes(32))),
                    ("a key of small order", "BadKey", signed(table, adverts[-1], public_key=bytes(32))),
                    (
                        "a key with bit 255 set",
                        "BadKey",
                        signed(table, adverts[-1], public_key=own.public[:-1] + bytes([own.public[-1] | 128])),
                    ),
                    (
                        "a key beyond the field",
                        "BadKey",
                        signed(table, adverts[-1], public_key=(2**255 - 10).to_bytes(32, "little")),
                    ),
                    (
                        "an encapsulation key that is none",
                        "BadKey",
                        signed(table, adverts[-1], encapsulation_key=b"\xff" * 1184),
                    ),
                )
            ),
            told(
                "another advert of mine",
                "Equivocation",
                "joined",
                with_adverts(signed(table, adverts[0], epsilon=1.0), *adverts[1:]),
            ),
            told("nonces", "accepted", "revealed", nonces),
            told("a nonce missing", "WrongNonce", "revealed", replace(nonces, reveals=nonces.reveals[:-1])),
            told(
                "another nonce than was committed to",
                "WrongNonce",
                "revealed",
                replace(nonces, reveals=(*nonces.reveals[:-1], signed(table, nonces.reveals[-1], nonce=bytes(32)))),
            ),
            told(
                "a nonce for another roster",
                "WrongSession",
                "revealed",
                replace(nonces, reveals=(*nonces.reveals[:-1], signed(table, nonces.reveals[-1], roster=bytes(32)))),
            ),
            told("ciphertexts", "accepted", "keyed", pairing),
            told(
                "a ciphertext missing",
                "WrongCiphertexts",
                "keyed",
                replace(pairing, ciphertexts=pairing.ciphertexts[:-1]),
            ),
            told("ciphertexts of another set-up", "WrongSession", "keyed", replace(pairing, session=bytes(32))),
            told("to prepare", "accepted", "idle", prepare),
            told("to prepare in the middle of a round", "accepted", "reported", prepare),
            told("to prepare for a round that was", "StaleRound", "reported", replace(prepare, round=3)),
            told("to prepare for a round that is not planned", "UnplannedRound", "idle", replace(prepare, round=12)),
            told("a round", "accepted", "idle", request),
            told(
                "a newer round instead",
                "accepted",
                "reported",
                replace(
                    request,
                    round=4,
                    participants=(Prepared(ME, story.reports[ME].following.digest), *prepared[1:]),
                ),
            ),
            told("another run", "WrongRun", "idle", replace(request, run=bytes(16))),
            told("another set-up", "WrongSession", "idle", replace(request, session=bytes(32))),
            told("other parameters", "UnfollowedParameters", "idle", replace(request, parameters_digest=b"\x01" * 32)),
            told("the same round again", "StaleRound", "reported", request),
            told("an older round", "StaleRound", "reported", replace(request, round=2)),
            told("a round below the threshold", "TooFewParticipants", "idle", of(*prepared[:3])),
            told("a round without me", "NotAParticipant", "idle", of(*prepared[1:])),
            told("a round with a stranger", "UnknownLabel", "idle", of(*prepared, Prepared("stranger", bytes(32)))),
            told("another preparation of mine", "Equivocation", "idle", of(Prepared(ME, bytes(32)), *prepared[1:])),
            told("a survivor set to sign", "accepted", "reported", check, story.signatures[ME]),
            told("to sign before the report", "OutOfOrder", "reporting", check),
            told("to sign twice", "OutOfOrder", "checked", check),
            told("to sign for another round", "WrongRound", "reported", replace(check, round=4)),
            told("a survivor too few", "TooFewSurvivors", "reported", replace(check, survivors=few)),
            told("survivors without me", "WrongSurvivors", "reported", replace(check, survivors=check.survivors[1:])),
            told(
                "a survivor who takes no part",
                "WrongSurvivors",
                "reported",
                replace(check, survivors=(*check.survivors, "stranger")),
            ),
            told("to unmask", "accepted", "checked", unmask, story.shares[ME]),
            told("to unmask without having signed oneself", "accepted", "reported", unmask, story.shares[ME]),
            told("to unmask before the report", "OutOfOrder", "reporting", unmask),
            told("to unmask twice", "OutOfOrder", "idle", unmask),
            told("to unmask another run", "WrongRun", "checked", replace(unmask, run=bytes(16))),
            told("to unmask another set", "Equivocation", "checked", replace(unmask, survivors=few)),
            told(
                "too few signatures", "TooFewSignatures", "checked", replace(unmask, signatures=unmask.signatures[1:])
            ),
            told(
                "a forged signature",
                "BadSignature",
                "checked",
                replace(unmask, signatures=(Signature(ME, bytes(64)), *unmask.signatures[1:])),
            ),
            told("a box too few", "WrongBoxes", "checked", replace(unmask, boxes=unmask.boxes[1:])),
            told(
                "a box of another sender",
                "accepted",  # and complained of
                "checked",
                replace(unmask, boxes=(unmask.boxes[1], *unmask.boxes[1:])),
                complaint(story, unmask),
            ),
        ],
    }


def coordinator_side(story: Story) -> Case:
    table, request, report = story.table, story.request, story.reports["label-003"]
    steps: list[Case] = []

    def receive(message: Message, expect: str = "accepted") -> None:
        steps.append({"do": "receive", "message": message.encode().hex(), "expect": expect})

    first, *others = story.adverts.values()
    receive(signed(table, first, config_digest=bytes(32)), "ConfigurationChanged")
    receive(signed(table, first, public_key=bytes(32)), "BadKey")
    receive(replace(first, epsilon=1.0), "BadSignature")
    receive(first)
    receive(first, "OutOfOrder")
    receive(signed(table, others[0], public_key=first.public_key), "DuplicateParticipant")
    for advert in others:
        receive(advert)
    receive(report, "OutOfOrder")
    steps.append({"do": "fix_members", "message": story.rosters[ME].encode().hex()})
    receive(signed(table, story.reveals[ME], nonce=bytes(32)), "WrongNonce")
    receive(signed(table, story.reveals[ME], roster=bytes(32)), "WrongSession")
    for reveal in story.reveals.values():
        receive(reveal)
    steps.append({"do": "close_reveals", "message": story.nonces[ME].encode().hex()})
    for ciphertexts in story.ciphertexts.values():
        if ciphertexts.label == ME:
            receive(signed(table, ciphertexts, ciphertexts=ciphertexts.ciphertexts[1:]), "WrongCiphertexts")
        receive(ciphertexts)
    pairings = {label: pairing.encode().hex() for label, pairing in story.pairings.items()}
    steps.append({"do": "close_ciphertexts", "requests": pairings})
    steps.append({"do": "prepare_requests", "round": request.round})
    for preparation in story.preparations.values():
        if preparation.label == ME:
            receive(signed(table, preparation, boxes=preparation.boxes[1:]), "WrongBoxes")
            receive(signed(table, preparation, session=bytes(32)), "WrongSession")
        receive(preparation)
    steps.append(
        {
            "do": "start_round",
            "round": request.round,
            "kind": request.kind.value,
            "participants": list(story.adverts),
            "parameters_digest": PARAMETERS_DIGEST.hex(),
            "elements": ELEMENTS,
            "request": request.encode().hex(),
        }
    )
    for label, whole in story.reports.items():
        if whole is report:
            receive(signed(table, report, request=bytes(32)), "WrongRound")
            receive(signed(table, report, ring_bits=32), "WrongVector")
            receive(signed(table, report, boxes=report.boxes[1:]), "WrongBoxes")
            receive(replace(report, vector=bytes(len(report.vector))), "BadSignature")
        receive(story.reports[label])
    receive(report, "OutOfOrder")
    steps.append({"do": "close_reports", "survivors": list(story.reports)})
    signature = story.signatures[ME]
    receive(replace(signature, label="label-001"), "BadSignature")
    receive(replace(signature, round=2), "WrongRound")
    for answer in story.signatures.values():
        receive(answer)
    requests = {label: unmask.encode().hex() for label, unmask in story.unmasks.items()}
    steps.append({"do": "close_cross_check", "requests": requests})
    receive(signed(table, story.shares[ME], values=(bytes(32),)), "WrongShares")
    receive(signed(table, story.shares[ME], survivors_digest=bytes(32)), "WrongRound")
    for shares in story.shares.values():
        receive(shares)
    steps.append({"do": "finish", "sum": [int(value) for value in story.total]})
    return {
        "about": "A set-up and a round at the coordinator, step by step; `sum` is the sum of the plain vectors.",
        "agreement": json.loads(canonical_json(table.agreement)),
        "announcement": table.aggregator.announcement.encode().hex(),
        "steps": steps,
    }


def primitives() -> Case:
    seed, alice, bob = bytes(range(32)), RunKey.generate(), RunKey.generate()
    masks = {}
    for bits in (16, 24, 32):
        vector = Ring(bits).zeros(5)
        add_masks(vector, plus=[seed])
        masks[str(bits)] = bytes(Ring(bits).pack(vector)).hex()
    secret, key = alice.agree(bob.public), bytes(range(32, 64))
    encapsulated, ciphertext = encapsulate(bob.encapsulation)
    session = bytes(range(64, 96))
    pair = pair_secret(secret, encapsulated, ciphertext, labels={"alice", "bob"}, session=session)
    links = PairKeys(Session(bytes(16), session, ("alice", "bob", "carol"), 3), "alice", 1, {"bob": pair})
    names = tuple(f"label-{number:03}" for number in range(140))
    graph = Topology(names, seed)
    shares = split(seed, threshold=3, holders=5)
    return {
        "about": "The parts that masked rounds are made of.",
        "masks": {"seed": seed.hex(), "five_elements": masks},
        "keys": {
            "alice_private": alice.private_bytes().hex(),
            "bob_private": bob.private_bytes().hex(),
            "bob_public": bob.public.hex(),
            "x25519_secret": secret.hex(),
            "ciphertext": ciphertext.hex(),
            "ml_kem_secret": encapsulated.hex(),
            "session": session.hex(),
            "pair_secret": pair.hex(),
            "round_key_of_round_3": links.round_key("bob", 3).hex(),
            "seal_key_of_round_3": links.seal_key("alice", "bob", 3, "seal-preparation").hex(),
        },
        "hashes": {
            "of": seed.hex(),
            "nonce_commitment": nonce_commitment(seed).hex(),
            "secret_commitment": secret_commitment(seed).hex(),
            "key_tag": key_tag(seed).hex(),
            "share_tag": share_tag(seed).hex(),
            "pair_tag": pair_tag(seed).hex(),
        },
        "seal": {
            "key": key.hex(),
            "header": b"header".hex(),
            "commitment": bytes(range(96, 128)).hex(),
            "plain": seed.hex(),
            "box": seal(key, seed, commitment=bytes(range(96, 128)), header=b"header").hex(),
        },
        "shamir": {"secret": seed.hex(), "threshold": 3, "shares": [share.tobytes().hex() for share in shares]},
        "topology": {
            "members": list(names),
            "seed": seed.hex(),
            "holders": list(graph.holders),
            "partners_of_first": list(graph.partners(names[0])),
            "numbers": [
                {
                    "members": count,
                    "threshold": threshold(count),
                    "share_threshold": share_threshold(count),
                    "partners": partner_count(count),
                }
                for count in (3, 4, 10, 64, 65, 100, 128, 129, 200, 1000)
            ],
        },
    }


def main() -> None:
    story = Story()
    files = {
        "decode": decoding(story),
        "label": label_side(story),
        "coordinator": coordinator_side(story),
        "primitives": primitives(),
    }
    for name, content in files.items():
        (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
