"""Factorisations are those of jax-privacy, an independent implementation; its threads keep mutants from using it."""

import math

import numpy as np
import pytest

from sottovoce.privacy.banded_factorisation import BandedToeplitz, square_root


@pytest.fixture(scope="module")
def theirs():
    """jax-privacy's factorisations, in double precision. Imported here, since that takes long."""
    import jax
    from jax_privacy.matrix_factorization import toeplitz

    with jax.enable_x64(True):
        yield toeplitz


@pytest.mark.parametrize(("rounds", "bands"), [(40, 4), (24, 24)])
def test_the_least_error_is_that_of_jax_privacy(rounds, bands, theirs):
    found = theirs.optimize_banded_toeplitz(rounds, bands)
    least = math.sqrt(float(theirs.loss(found, rounds)) / ((rounds + 1) / 2))
    ours = BandedToeplitz.optimal(rounds, bands, 24)
    same = math.sqrt(
        float(theirs.loss(np.array(ours.coefficients) / ours.coefficients[0], rounds)) / ((rounds + 1) / 2)
    )
    assert ours.error(rounds) == pytest.approx(same, rel=1e-9)
    assert ours.error(rounds) <= least * (1 + 1e-6)
    assert ours.error(rounds) == pytest.approx(least, rel=1e-4)


def test_the_square_root_is_that_of_jax_privacy(theirs):
    assert square_root(60) == pytest.approx(np.asarray(theirs.optimal_max_error_strategy_coefs(60)), rel=1e-12)


@pytest.mark.parametrize(
    ("rounds", "bands", "participations", "separation"), [(9, 3, 3, 3), (8, 2, 3, 3), (7, 4, 1, 1)]
)
def test_the_sensitivity_is_that_of_jax_privacy(rounds, bands, participations, separation, theirs):
    matrix = BandedToeplitz.optimal(rounds, bands, 6)
    known = theirs.minsep_sensitivity_squared(np.array(matrix.coefficients, float), separation, participations, rounds)
    bound = matrix.sensitivity_squared(participations, separation)
    assert float(known) <= bound * (1 + 1e-12)
    fits = (participations - 1) * separation + bands <= rounds
    assert float(known) == pytest.approx(bound) or not fits
