"""Bytes of another party: one canonical form, and nothing but `Malformed` for everything else."""

import math
import os
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sottovoce.errors import LocalProtocolError
from sottovoce.federation.identity import Identity
from sottovoce.federation.refusals import RefusalReason
from sottovoce.protocol.messages import (
    Advert,
    Announcement,
    CrossCheckRequest,
    Encapsulated,
    Message,
    Pairing,
    Refusal,
    Report,
    RunOver,
    Signature,
    UnmaskRequest,
    decode,
)
from sottovoce.protocol.participant import Participant
from sottovoce.protocol.violations import Malformed
from sottovoce_simulations.engine.in_process_rounds import InMemoryRounds

RUN = bytes(range(16))


def spoken() -> list[Message]:
    """One message of each type, out of a real run."""
    table = InMemoryRounds(3, ring_bits=16)
    heard: list[Message] = [table.aggregator.announcement]
    receive = table.aggregator.receive

    def listen(message: Message) -> None:
        heard.append(message)
        receive(message)

    table.aggregator.receive = listen  # type: ignore[method-assign]
    answer = Participant.answer

    def asked(participant: Participant, request: Message) -> Message:
        heard.append(request)
        return answer(participant, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Participant, "answer", asked)
        table.join()
        heard.append(request := table.request(2, 5))
        table.report(request, {label: np.zeros(5, np.uint16) for label in table.participants})
        table.unmask()
    identity = Identity.generate()
    heard.append(Refusal.sign(identity, run=RUN, agreement=bytes(32), label="a", reason=RefusalReason.UNAVAILABLE))
    heard.append(RunOver.sign(identity, run=RUN, agreement=bytes(32), round=0, parameters_digest=bytes(32)))
    return heard


SPOKEN = {type(message).__name__: message for message in spoken()}


def test_every_type_is_spoken() -> None:
    assert sorted(message.TYPE for message in SPOKEN.values()) == list(range(1, 18))


@pytest.mark.parametrize("name", SPOKEN)
def test_reads_what_it_wrote(name: str) -> None:
    assert decode(SPOKEN[name].encode()) == SPOKEN[name]


@pytest.mark.parametrize("name", SPOKEN)
def test_every_truncation_and_every_trailing_byte_is_malformed(name: str) -> None:
    data = SPOKEN[name].encode()
    for size in [*range(min(len(data), 600)), *range(600, len(data), 13)]:
        with pytest.raises(Malformed):
            decode(data[:size])
    for tail in (b"\x00", data):
        with pytest.raises(Malformed, match="too many"):
            decode(data + tail)


@pytest.mark.parametrize("name", SPOKEN)
@given(changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=4))
@settings(max_examples=60)
def test_changed_bytes_are_malformed_or_another_canonical_message(name: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(SPOKEN[name].encode())
    for place, change in changes:
        data[place % len(data)] ^= change
    try:
        message = decode(bytes(data))
    except Malformed:
        return
    assert message.encode() == bytes(data)


@given(data=st.binary(max_size=200))
@settings(max_examples=200)
def test_hostile_bytes_raise_only_malformed(data: bytes) -> None:
    for start in (b"", b"SoVo", *(b"SoVo\x02" + bytes([code]) for code in range(1, 18))):
        try:
            assert decode(start + data).encode() == start + data
        except Malformed:
            continue


def test_a_count_beyond_the_bytes_is_refused_before_anything_is_read() -> None:
    head = CrossCheckRequest(RUN, 1, ()).encode()[:-4]
    with pytest.raises(Malformed, match="cannot fit"):
        decode(head + (10_000).to_bytes(4) + b"\x01a")
    with pytest.raises(Malformed, match="cannot fit"):
        decode(head + b"\xff" * 4)


def test_a_blob_longer_than_allowed_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="at most"):
        Announcement(RUN, bytes(32), bytes(32), bytes(2**16 + 1))


def advert_with(epsilon: float) -> bytes:
    data = bytearray(SPOKEN["Advert"].encode())
    data[-64 - 16 : -64 - 8] = struct.pack(">d", epsilon)
    return bytes(data)


def test_epsilon_may_be_infinite() -> None:
    message = decode(advert_with(math.inf))
    assert isinstance(message, Advert)
    assert message.epsilon == math.inf


@pytest.mark.parametrize("epsilon", [math.nan, -0.0, -1.0, -math.inf])
def test_numbers_without_a_meaning_or_with_a_second_encoding_are_malformed(epsilon: float) -> None:
    with pytest.raises(Malformed):
        decode(advert_with(epsilon))


@pytest.mark.parametrize("labels", [("b", "a"), ("a", "a")])
def test_lists_have_one_order(labels: tuple[str, ...]) -> None:
    with pytest.raises(LocalProtocolError, match="ascending"):
        CrossCheckRequest(RUN, 1, labels)
    with pytest.raises(LocalProtocolError, match="ascending"):
        UnmaskRequest(RUN, 1, (), tuple(Signature(label, bytes(64)) for label in labels), ())
    with pytest.raises(LocalProtocolError, match="ascending"):
        Pairing(RUN, bytes(32), tuple(Encapsulated(label, bytes(1088)) for label in labels))
    swapped = CrossCheckRequest(RUN, 1, ("a", "b")).encode().replace(b"\x01a\x01b", b"\x01b\x01a")
    with pytest.raises(Malformed, match="ascending"):
        decode(swapped)


@pytest.mark.parametrize("name", ["", "A", "a/b", "a" * 64, "ä", "-a"])
def test_only_names_of_labels_are_names(name: str) -> None:
    with pytest.raises(LocalProtocolError, match="name"):
        CrossCheckRequest(RUN, 1, (name,))


@pytest.mark.parametrize(("run", "number"), [(b"", 1), (bytes(17), 1), (RUN, 0), (RUN, 2**32), (RUN, 1.0), (RUN, True)])
def test_a_message_is_checked_at_birth(run: bytes, number: int) -> None:
    with pytest.raises(LocalProtocolError, match=r"CrossCheckRequest\.(run|round)"):
        CrossCheckRequest(run, number, ("a",))


@pytest.mark.parametrize(
    ("start", "why"),
    [(b"SoVx\x01\x01", "first bytes"), (b"SoVo\x01\x01", "version 1 of the protocol"), (b"SoVo\x02\x14", "type 20")],
)
def test_other_formats_are_named(start: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        decode(start + os.urandom(50))


def test_a_reports_vector_is_not_copied() -> None:
    data = bytearray(SPOKEN["Report"].encode())
    report = decode(memoryview(data))
    assert isinstance(report, Report)
    assert isinstance(report.vector, memoryview)
    place = bytes(data).index(bytes(report.vector))
    data[place] ^= 1
    assert report.vector[0] == data[place]
