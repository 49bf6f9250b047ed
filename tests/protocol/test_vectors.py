"""The vectors of tests/vectors: each is accepted, or refused by the error that it names."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sottovoce.errors import SottovoceError
from sottovoce.federation.agreement import Agreement, Member
from sottovoce.federation.identity import Identity
from sottovoce.protocol import keys as keys_module
from sottovoce.protocol import violations
from sottovoce.protocol.aggregator import Aggregator
from sottovoce.protocol.keys import RunKey, pair_secret
from sottovoce.protocol.messages import (
    Announcement,
    Kind,
    Message,
    ReportRequest,
    decode,
)
from sottovoce.protocol.pair_keys import PairKeys
from sottovoce.protocol.participant import Participant
from sottovoce.protocol.prg import add_masks
from sottovoce.protocol.ring import Ring
from sottovoce.protocol.seal import unseal
from sottovoce.protocol.session import Session
from sottovoce.protocol.shamir import combine
from sottovoce.protocol.topology import Topology, partner_count, share_threshold, threshold

FOLDER = Path(__file__).parent.parent / "vectors"


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return content


DECODE, LABEL, COORDINATOR, PRIMITIVES = (read(name) for name in ("decode", "label", "coordinator", "primitives"))


def named(cases: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    by_name = {case["name"]: case for case in cases}
    assert len(by_name) == len(cases)
    return by_name


def agreement_of(values: dict[str, Any]) -> Agreement:
    members = tuple(Member(item["name"], bytes.fromhex(item["public_key"])) for item in values["members"])
    return Agreement(
        values["federation"], bytes.fromhex(values["coordinator_key"]), members, values["n_min"], values["cross_check"]
    )


def error_named(name: str) -> type[SottovoceError]:
    error: type[SottovoceError] = getattr(violations, name)
    return error


DECODE_CASES, LABEL_CASES = named(DECODE["cases"]), named(LABEL["cases"])


@pytest.mark.parametrize("name", DECODE_CASES)
def test_decoding(name: str) -> None:
    case = DECODE_CASES[name]
    data = bytes.fromhex(case["bytes"])
    if case["expect"] == "accepted":
        message = decode(data)
        assert type(message).__name__ == case["type"]
        assert message.encode() == data
    else:
        with pytest.raises(error_named(case["expect"])):
            decode(data)


def tell(participant: Participant, message: Message) -> Message | None:
    if isinstance(message, ReportRequest):
        participant.accept(message, bytes.fromhex(LABEL["parameters_digest"]))
        return None
    return participant.answer(message)


@pytest.mark.parametrize("name", LABEL_CASES)
def test_a_label(name: str, tmp_path: Path) -> None:
    case = LABEL_CASES[name]
    key = tmp_path / "identity"
    key.write_bytes(bytes.fromhex(LABEL["identity"]))
    key.chmod(0o600)
    state, message = bytes.fromhex(LABEL["states"][case["state"]]), decode(bytes.fromhex(case["message"]))
    participant = Participant.from_bytes(state, identity=Identity.load(key), agreement=agreement_of(LABEL["agreement"]))
    if case["expect"] == "accepted":
        answer = tell(participant, message)
        # What is random in an answer is not in the vector.
        assert "answer" not in case or (answer is not None and answer.encode().hex() == case["answer"])
    else:
        with pytest.raises(violations.RemoteProtocolError) as caught:
            tell(participant, message)
        assert type(caught.value) is error_named(case["expect"])
        assert participant.to_bytes() == state


def test_a_coordinator() -> None:
    announcement = decode(bytes.fromhex(COORDINATOR["announcement"]))
    assert isinstance(announcement, Announcement)
    aggregator = Aggregator(agreement_of(COORDINATOR["agreement"]), announcement)
    for step in COORDINATOR["steps"]:
        match step["do"]:
            case "receive":
                message = decode(bytes.fromhex(step["message"]))
                if step["expect"] == "accepted":
                    aggregator.receive(message)
                else:
                    with pytest.raises(violations.RemoteProtocolError) as caught:
                        aggregator.receive(message)
                    assert type(caught.value) is error_named(step["expect"])
            case "start_round":
                digest = bytes.fromhex(step["parameters_digest"])
                request = aggregator.start_round(
                    step["round"], Kind(step["kind"]), step["participants"], digest, step["elements"]
                )
                assert request.encode().hex() == step["request"]
            case "fix_members":
                assert {m.encode().hex() for m in aggregator.fix_members().values()} == {step["message"]}
            case "close_reveals":
                assert {m.encode().hex() for m in aggregator.close_reveals().values()} == {step["message"]}
            case "close_ciphertexts":
                pairings = aggregator.close_ciphertexts()
                assert {label: pairing.encode().hex() for label, pairing in pairings.items()} == step["requests"]
            case "prepare_requests":
                aggregator.prepare_requests(step["round"])
            case "close_reports":
                requests = aggregator.close_reports()
                assert list(requests) == step["survivors"]
            case "close_cross_check":
                unmasks = aggregator.close_cross_check()
                assert {label: unmask.encode().hex() for label, unmask in unmasks.items()} == step["requests"]
            case "finish":
                assert aggregator.finish().vector.tolist() == step["sum"]


def test_masks() -> None:
    vector, seed = PRIMITIVES["masks"]["five_elements"], bytes.fromhex(PRIMITIVES["masks"]["seed"])
    for bits, expected in vector.items():
        mask = Ring(int(bits)).zeros(5)
        add_masks(mask, plus=[seed])
        assert bytes(Ring(int(bits)).pack(mask)).hex() == expected


def test_keys_and_seals() -> None:
    keys = {name: bytes.fromhex(value) for name, value in PRIMITIVES["keys"].items()}
    agreed = RunKey.from_bytes(keys["alice_private"]).agree(keys["bob_public"])
    assert agreed == keys["x25519_secret"]
    encapsulated = RunKey.from_bytes(keys["bob_private"]).open(keys["ciphertext"])
    assert encapsulated == keys["ml_kem_secret"]
    labels = {"alice", "bob"}
    pair = pair_secret(agreed, encapsulated, keys["ciphertext"], labels=labels, session=keys["session"])
    assert pair == keys["pair_secret"]
    session = Session(bytes(16), keys["session"], ("alice", "bob", "carol"), 3)
    for mine, other in (("alice", "bob"), ("bob", "alice")):
        links = PairKeys(session, mine, 1, {other: pair})
        assert links.round_key(other, 3) == keys["round_key_of_round_3"]
        assert links.advanced(3).seal_key("alice", "bob", 3, "seal-preparation") == keys["seal_key_of_round_3"]
    seal = {name: bytes.fromhex(value) for name, value in PRIMITIVES["seal"].items()}
    bound = {name: seal[name] for name in ("commitment", "header")}
    assert unseal(seal["key"], seal["box"], **bound) == seal["plain"]
    for name in bound:
        with pytest.raises(violations.BadSeal):
            unseal(seal["key"], seal["box"], **{**bound, name: bytes(32)})


def test_hashes() -> None:
    vector = {name: bytes.fromhex(value) for name, value in PRIMITIVES["hashes"].items()}
    secret = vector.pop("of")
    assert {name: getattr(keys_module, name)(secret) for name in vector} == vector


def test_shares() -> None:
    vector = PRIMITIVES["shamir"]
    shares = np.array([list(bytes.fromhex(share)) for share in vector["shares"]], np.uint8)
    for holders in ([0, 1, 2], [4, 2, 0], [0, 1, 2, 3, 4]):
        assert combine(holders, shares[holders], threshold=vector["threshold"]).hex() == vector["secret"]


def test_topology() -> None:
    vector = PRIMITIVES["topology"]
    graph = Topology(tuple(vector["members"]), bytes.fromhex(vector["seed"]))
    assert list(graph.holders) == vector["holders"]
    assert list(graph.partners(vector["members"][0])) == vector["partners_of_first"]
    for row in vector["numbers"]:
        count = row["members"]
        assert threshold(count) == row["threshold"]
        assert share_threshold(count) == row["share_threshold"]
        assert partner_count(count) == row["partners"]


def test_every_error_of_the_protocol_is_the_end_of_a_vector_or_of_a_test() -> None:
    """Those that no vector can show have a test of their own."""
    shown = {case["expect"] for case in (*DECODE["cases"], *LABEL["cases"])}
    shown |= {step["expect"] for step in COORDINATOR["steps"] if step["do"] == "receive"}
    shown |= {"TooManyParticipants", "TooManyDraws", "BadSeal", "ImplausibleSum"}  # test_adversary_setup, test_layout
    shown |= {"WrongVersion", "Downgraded"}  # test_versions, tests/attacks/test_version_is_not_lowered.py
    shown |= {"UnplannedRound"}  # raised by the label that knows its run's plan: tests/federation
    shown |= {"WrongParameters"}  # raised where sums and first parameters are read: tests/run, tests/federation
    own = {
        name
        for name, value in vars(violations).items()
        if isinstance(value, type) and value.__module__ == violations.__name__
    }
    assert own <= shown
