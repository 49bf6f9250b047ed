"""Masks: the keystream, rings and their packing."""

import os

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from sottovoce.errors import ConfigurationError
from sottovoce.protocol.prg import CHUNK_BYTES, add_masks
from sottovoce.protocol.ring import Ring, RingArray
from sottovoce.run.configuration import RING_BITS
from sottovoce_simulations.engine.in_process_rounds import InMemoryRounds

SEED = bytes(range(32))


def mask(bits: int, elements: int, seed: bytes = SEED) -> RingArray:
    vector = Ring(bits).zeros(elements)
    add_masks(vector, plus=[seed])
    Ring(bits).reduce(vector)
    return vector


def test_the_keystream_is_that_of_the_standard() -> None:
    """NIST SP 800-38A, F.5.5 gives CTR-AES256 for another counter; the key's block 0 is AES itself (FIPS 197, C.3)."""
    zero_block = mask(32, 4).astype("<u4").tobytes()
    whole = Cipher(AES(SEED), CTR(bytes(16))).encryptor().update(bytes(16))
    assert zero_block == whole
    assert zero_block.hex() == "f29000b62a499fd0a9f39a6add2e7780"


@pytest.mark.parametrize("bits", RING_BITS)
@pytest.mark.parametrize("elements", [1, 3, CHUNK_BYTES // 4 - 1, CHUNK_BYTES // 4 + 1, CHUNK_BYTES + 5])
def test_a_mask_is_one_stream_whatever_the_chunks(bits: int, elements: int) -> None:
    dtype = Ring(bits).dtype
    stream = Cipher(AES(SEED), CTR(bytes(16))).encryptor().update(bytes(elements * dtype.itemsize))
    expected = np.frombuffer(stream, dtype) & np.uint32(2**bits - 1)
    assert np.array_equal(mask(bits, elements), expected)


@pytest.mark.parametrize("bits", RING_BITS)
def test_masks_that_are_added_and_subtracted_cancel(bits: int) -> None:
    ring, seeds = Ring(bits), [os.urandom(32) for _ in range(5)]
    vector = np.arange(1000).astype(ring.dtype)
    add_masks(vector, plus=seeds[:3], minus=seeds[3:])
    assert not np.array_equal(vector, np.arange(1000))
    add_masks(vector, plus=seeds[3:], minus=seeds[:3])
    ring.reduce(vector)
    assert np.array_equal(vector, np.arange(1000))


@pytest.mark.parametrize("bits", RING_BITS)
def test_a_masked_vector_is_uniform(bits: int) -> None:
    """Chi-square over each byte of the ring elements that one label sends; the plain vector is constant."""
    table = InMemoryRounds(3, ring_bits=bits)
    table.join()
    elements = 1 << 16
    participant = next(iter(table.participants.values()))
    participant.accept(table.request(1, elements), bytes(32))
    report = participant.report(np.full(elements, 7, Ring(bits).dtype))
    columns = np.frombuffer(report.vector, np.uint8).reshape(elements, bits // 8)
    for column in columns.T:
        assert chisquare(np.bincount(column, minlength=256)).pvalue > 1e-6
    constant = np.bincount(np.full(elements, 7, np.uint8), minlength=256)
    assert chisquare(constant).pvalue < 1e-6


def test_no_two_rounds_and_no_two_labels_share_a_mask() -> None:
    table = InMemoryRounds(3)
    table.join()
    seen = []
    for number in (1, 2, 3):
        request = table.request(number, 8)
        for participant in table.participants.values():
            participant.accept(request, bytes(32))
            seen.append(bytes(participant.report(np.zeros(8, np.uint32)).vector))
    assert len(set(seen)) == len(seen) == 9
    pairs = {
        participant._stage.pairs.round_key(other, number)  # type: ignore[union-attr]
        for label, participant in table.participants.items()
        for other in table.participants
        for number in (3, 4)
        if other != label
    }
    assert len(pairs) == 6


@given(bits=st.sampled_from(RING_BITS), values=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=50))
@settings(max_examples=50)
def test_packing_keeps_every_element(bits: int, values: list[int]) -> None:
    ring = Ring(bits)
    vector = (np.array(values, np.uint64) % 2**bits).astype(ring.dtype)
    packed = ring.pack(vector)
    assert len(packed) == len(values) * bits // 8
    assert np.array_equal(ring.unpack(packed), vector)
    assert ring.unpack(packed).dtype == ring.dtype
    total = ring.zeros(len(values))
    ring.add_packed(total, packed)
    ring.add_packed(total, packed)
    ring.reduce(total)
    assert np.array_equal(total.astype(np.uint64), 2 * vector.astype(np.uint64) % 2**bits)


@pytest.mark.parametrize("bits", RING_BITS)
def test_nothing_is_packed_as_no_bytes(bits: int) -> None:
    ring = Ring(bits)
    assert bytes(ring.pack(ring.zeros(0))) == b""
    assert ring.unpack(b"").shape == (0,)


@pytest.mark.parametrize("bits", [16, 32])
def test_what_fills_its_bytes_is_not_copied(bits: int) -> None:
    ring = Ring(bits)
    vector = ring.zeros(5)
    assert np.shares_memory(ring.unpack(ring.pack(vector)), vector)


def test_packing_goes_through_chunks() -> None:
    vector = np.arange(50_000, dtype=np.uint32) * 300 % 2**24
    total = Ring(24).zeros(vector.size)
    Ring(24).add_packed(total, Ring(24).pack(vector))
    assert np.array_equal(total, vector)


def test_packing_drops_what_is_above_the_ring() -> None:
    assert bytes(Ring(24).pack(np.array([0xFF030201], np.uint32))) == b"\x01\x02\x03"


@pytest.mark.parametrize("bits", [0, 8, 31, 64])
def test_other_rings_are_refused(bits: int) -> None:
    with pytest.raises(ConfigurationError, match="ring_bits"):
        Ring(bits)
