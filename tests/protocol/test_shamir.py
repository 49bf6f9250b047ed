"""Shares: any t of them tell everything, fewer tell nothing, and a wrong one is noticed where it can be."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from sottovoce.errors import LocalProtocolError
from sottovoce.protocol.shamir import combine, divide, multiply, split
from sottovoce.protocol.violations import WrongShares


def test_the_field_is_that_of_aes() -> None:
    assert multiply(0x57, 0x83) == 0xC1  # FIPS 197, section 4.2
    assert multiply(0x57, 0x13) == 0xFE
    assert all(multiply(value, divide(1, value)) == 1 for value in range(1, 256))
    assert all(multiply(value, 0) == multiply(0, value) == divide(0, value or 1) == 0 for value in range(256))


@pytest.mark.parametrize("holders", [1, 255])
def test_one_holder_and_as_many_as_the_field_has_numbers_share_a_secret(holders: int) -> None:
    shares = split(b"secret", threshold=holders, holders=holders)
    assert combine(range(holders), shares, threshold=holders) == b"secret"


@given(data=st.data(), secret=st.binary(min_size=1, max_size=70), holders=st.integers(1, 64))
@settings(max_examples=40)
def test_any_threshold_of_holders_recovers(data: st.DataObject, secret: bytes, holders: int) -> None:
    threshold = data.draw(st.integers(1, holders))
    chosen = data.draw(st.permutations(range(holders)))[: data.draw(st.integers(threshold, holders))]
    shares = split(secret, threshold=threshold, holders=holders)
    assert combine(chosen, shares[list(chosen)], threshold=threshold) == secret


def test_one_share_fewer_fits_every_secret_alike() -> None:
    """What t - 1 holders see of a constant secret is uniform, byte by byte."""
    shares = split(bytes(1 << 16), threshold=3, holders=5)
    for share in shares:
        assert chisquare(np.bincount(share, minlength=256)).pvalue > 1e-6
    both = shares[0].astype(int) ^ shares[1]
    assert chisquare(np.bincount(both, minlength=256)).pvalue > 1e-6
    wrong = combine([0, 1], shares[:2], threshold=2)
    assert chisquare(np.bincount(np.frombuffer(wrong, np.uint8), minlength=256)).pvalue > 1e-6


def test_too_few_holders_and_one_holder_twice_are_refused() -> None:
    shares = split(os.urandom(32), threshold=3, holders=5)
    with pytest.raises(WrongShares, match="2 holders sent shares; 3 are needed"):
        combine([0, 1], shares[:2], threshold=3)
    with pytest.raises(WrongShares):
        combine([0, 1, 1], shares[[0, 1, 1]], threshold=3)


@pytest.mark.parametrize(("threshold", "holders"), [(0, 3), (4, 3), (1, 256)])
def test_numbers_that_cannot_be_are_refused(threshold: int, holders: int) -> None:
    with pytest.raises(LocalProtocolError, match="Cannot share"):
        split(b"secret", threshold=threshold, holders=holders)
