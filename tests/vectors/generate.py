"""Write the vectors of masked rounds: `python tests/vectors/generate.py`. Every key in them is for tests only.

Each vector names what must come of it: `accepted`, or the class of the error. Keys are fresh each time, so the files
change whenever this runs; it is run when the format changes, and the files are what is tested against.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sottovoce.canonical import canonical_json
from sottovoce.federation.refusals import RefusalReason
from sottovoce.protocol.keys import RunKey, derive
from sottovoce.protocol.messages import (
    Advert,
    CrossCheckRequest,
    Message,
    Refusal,
    Report,
    ReportRequest,
    Sealed,
    Shares,
    Signature,
)
from sottovoce.protocol.prg import add_masks
from sottovoce.protocol.ring import Ring
from sottovoce.protocol.seal import seal
from sottovoce.protocol.shamir import split
from sottovoce.protocol.topology import Topology, partner_count, share_threshold, threshold
from sottovoce_simulations.engine.in_process_rounds import PARAMETERS_DIGEST, InMemoryRounds, plain_config

FOLDER = Path(__file__).parent
ME = "label-000"
LABELS = 5  # t = 4
ELEMENTS = 6
RING_BITS = 24
Case = dict[str, Any]


def case(name: str, expect: str, **values: Any) -> Case:
    return {"name": name, "expect": expect, **values}


def signed(table: InMemoryRounds, message: Advert | Report | Shares, **changes: object) -> Any:
    """The message changed, and signed again by its label."""
    fields = {name: getattr(message, name) for name in message.__dataclass_fields__ if name not in ("TYPE", "PURPOSE")}
    del fields["signature"]
    return type(message).sign(table.identities[message.label], **{**fields, **changes})


class Story:
    """One round of five labels, of which the last vanishes before it reports; every message and state is kept."""

    def __init__(self) -> None:
        self.table = table = InMemoryRounds(LABELS, ring_bits=RING_BITS, n_min=4)
        table.join()
        self.adverts = table.aggregator.adverts
        self.states = {"idle": self.mine()}
        self.request = table.request(3, ELEMENTS)
        self.vectors = {
            label: np.arange(ELEMENTS, dtype=np.uint32) * 1000 + place
            for place, label in enumerate(list(table.participants)[:-1])
        }
        self.total = sum(vector.astype(np.uint64) for vector in self.vectors.values())
        self.reports: dict[str, Report] = {}
        for label in self.vectors:
            table.participants[label].accept(self.request, PARAMETERS_DIGEST)
        self.states["reporting"] = self.mine()
        for label, vector in self.vectors.items():
            self.reports[label] = table.participants[label].report(vector)
            table.aggregator.receive(self.reports[label])
        self.states["reported"] = self.mine()
        self.checks = table.aggregator.close_reports()
        self.signatures = {label: table.participants[label].cross_check(c) for label, c in self.checks.items()}  # type: ignore[arg-type]
        self.states["checked"] = self.mine()
        for signature in self.signatures.values():
            table.aggregator.receive(signature)
        self.unmasks = table.aggregator.close_cross_check()
        self.shares = {label: table.participants[label].unmask(unmask) for label, unmask in self.unmasks.items()}

    def mine(self) -> str:
        return self.table.participants[ME].to_bytes().hex()


def decoding(story: Story) -> Case:
    refusal = Refusal.sign(
        story.table.identities[ME],
        run=story.request.run,
        agreement=story.table.agreement.digest,
        label=ME,
        reason=RefusalReason.PRIVACY,
    )
    messages: list[Message] = [
        story.table.aggregator.announcement,
        story.adverts[ME],
        refusal,
        story.request,
        story.reports[ME],
        story.checks[ME],
        story.signatures[ME],
        story.unmasks[ME],
        story.shares[ME],
    ]
    cases = []
    for message in messages:
        name, data = type(message).__name__, message.encode()
        cases += [
            case(f"{name}", "accepted", type=name, bytes=data.hex()),
            case(f"{name}, last byte missing", "Malformed", bytes=data[:-1].hex()),
            case(f"{name}, one byte too many", "Malformed", bytes=(data + b"\x00").hex()),
            case(f"{name}, another version", "Malformed", bytes=(data[:4] + b"\x02" + data[5:]).hex()),
        ]
    check = CrossCheckRequest(story.request.run, 3, ("a", "b")).encode()
    advert = story.adverts[ME].encode()
    cases += [
        case("nothing", "Malformed", bytes=""),
        case("another magic", "Malformed", bytes=(b"SoVa" + check[4:]).hex()),
        case("an unknown type", "Malformed", bytes=(check[:5] + b"\x0a" + check[6:]).hex()),
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


def label_side(story: Story) -> Case:
    table, request, states = story.table, story.request, story.states
    check, unmask = story.checks[ME], story.unmasks[ME]
    assert isinstance(check, CrossCheckRequest)
    others = plain_config(RING_BITS).changed(update_clip=2.0)
    adverts = request.adverts

    def with_adverts(*changed: Advert) -> ReportRequest:
        return replace(request, adverts=changed)

    def told(name: str, expect: str, state: str, message: Message, answer: Message | None = None) -> Case:
        made = {} if answer is None else {"answer": answer.encode().hex()}
        return case(name, expect, state=states[state], message=message.encode().hex(), **made)

    stranger = Advert.sign(
        table.identities[ME],
        **{name: getattr(adverts[0], name) for name in ("run", "agreement", "config_digest", "epsilon", "delta")},
        label="stranger",
        public_key=bytes(range(32)),
    )
    few, box = check.survivors[:-1], unmask.bundles[0]
    return {
        "about": "A label in a state that `Participant.from_bytes` reads is told something.",
        "agreement": json.loads(canonical_json(table.agreement)),
        "identity": table.identities[ME]._private.private_bytes_raw().hex(),
        "parameters_digest": PARAMETERS_DIGEST.hex(),
        "cases": [
            told("a round", "accepted", "idle", request),
            told("a newer round instead", "accepted", "reported", replace(request, round=4)),
            told("another run", "WrongRun", "idle", replace(request, run=bytes(16))),
            told("other parameters", "WrongParameters", "idle", replace(request, parameters_digest=b"\x01" * 32)),
            told("the same round again", "StaleRound", "reported", request),
            told("an older round", "StaleRound", "reported", replace(request, round=2)),
            told("below n_min", "TooFewParticipants", "idle", with_adverts(*adverts[:3])),
            told("without me", "NotAParticipant", "idle", with_adverts(*adverts[1:])),
            told("an unknown label", "UnknownLabel", "idle", with_adverts(*adverts, stranger)),
            told("a label twice", "DuplicateParticipant", "idle", with_adverts(*adverts, adverts[-1])),
            told("out of order", "Malformed", "idle", with_adverts(*reversed(adverts))),
            told(
                "a key nobody signed",
                "BadSignature",
                "idle",
                with_adverts(*adverts[:-1], replace(adverts[-1], public_key=bytes(range(32)))),
            ),
            told(
                "another configuration",
                "ConfigurationChanged",
                "idle",
                with_adverts(*adverts[:-1], signed(table, adverts[-1], config_digest=others.digest)),
            ),
            told(
                "another agreement",
                "WrongAgreement",
                "idle",
                with_adverts(*adverts[:-1], signed(table, adverts[-1], agreement=bytes(32))),
            ),
            told(
                "a key of small order",
                "BadKey",
                "idle",
                with_adverts(*adverts[:-1], signed(table, adverts[-1], public_key=bytes(32))),
            ),
            told(
                "another advert of mine",
                "Equivocation",
                "idle",
                with_adverts(signed(table, adverts[0], epsilon=1.0), *adverts[1:]),
            ),
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
            told("a bundle too few", "WrongBundles", "checked", replace(unmask, bundles=unmask.bundles[1:])),
            told(
                "a bundle of another sender",
                "BadSeal",
                "checked",
                replace(unmask, bundles=(Sealed(box.label, unmask.bundles[1].box), *unmask.bundles[1:])),
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
            receive(signed(table, report, bundles=report.bundles[1:]), "WrongBundles")
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
    receive(signed(table, story.shares[ME], values=bytes(32)), "WrongShares")
    receive(signed(table, story.shares[ME], survivors_digest=bytes(32)), "WrongRound")
    for shares in story.shares.values():
        receive(shares)
    steps.append({"do": "finish", "sum": [int(value) for value in story.total]})
    return {
        "about": "One round at the coordinator, step by step; `sum` is what the labels' plain vectors add up to.",
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
    names = tuple(f"label-{number:03}" for number in range(70))
    graph = Topology(names, seed)
    shares = split(seed, threshold=3, holders=5)
    return {
        "about": "The parts that masked rounds are made of.",
        "masks": {"seed": seed.hex(), "five_elements": masks},
        "keys": {
            "alice_private": alice.private_bytes().hex(),
            "bob_public": bob.public.hex(),
            "secret": secret.hex(),
            "purpose": "mask",
            "run": bytes(16).hex(),
            "context": b"context".hex(),
            "derived": derive(secret, purpose="mask", run=bytes(16), context=b"context").hex(),
        },
        "seal": {
            "key": key.hex(),
            "header": b"header".hex(),
            "plain": seed.hex(),
            "box": seal(key, seed, b"header").hex(),
        },
        "shamir": {"secret": seed.hex(), "threshold": 3, "shares": [share.tobytes().hex() for share in shares]},
        "topology": {
            "participants": list(names),
            "seed": seed.hex(),
            "holders": list(graph.holders),
            "partners_of_first": list(graph.partners(names[0])),
            "numbers": [
                {
                    "participants": count,
                    "threshold": threshold(count),
                    "share_threshold": share_threshold(count),
                    "partners": partner_count(count),
                }
                for count in (3, 4, 10, 64, 65, 70, 100, 130, 200, 1000)
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
