"""The factorisation is that of dense linear algebra, its sensitivity that of brute force, its error that of draws."""

import itertools
import math
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import solve_triangular, toeplitz
from scipy.optimize import minimize_scalar

from sottovoce.errors import PrivacyError
from sottovoce.privacy.banded_factorisation import BandedToeplitz, square_root
from sottovoce.privacy.discrete_gaussian import sample
from sottovoce.randomness import Randomness

SHAPES = [(1, 1), (2, 2), (7, 3), (20, 5), (40, 40), (100, 10), (300, 30)]


def dense(matrix, rounds):
    """C as an array, `[T, T]`."""
    column = np.zeros(rounds)
    column[: matrix.bands] = matrix.coefficients
    return toeplitz(column, np.zeros(rounds))


def prefix(rounds):
    return np.tril(np.ones((rounds, rounds)))


@pytest.mark.parametrize(("rounds", "bands"), SHAPES)
def test_the_errors_are_those_of_dense_linear_algebra(rounds, bands):
    matrix = BandedToeplitz.optimal(rounds, bands, 12)
    strategy = dense(matrix, rounds)
    reconstruction = solve_triangular(strategy.T, prefix(rounds).T, lower=False).T  # B = A·C⁻¹
    assert reconstruction @ strategy == pytest.approx(prefix(rounds), abs=1e-9)
    norm = np.linalg.norm(strategy, axis=0).max()
    assert matrix.column_norm == pytest.approx(norm)
    squared = (np.linalg.norm(reconstruction, axis=1) * norm) ** 2
    assert matrix.squared_errors(rounds) == pytest.approx(squared)
    independent = np.arange(1, rounds + 1)
    assert matrix.error(rounds) == pytest.approx(math.sqrt(squared.mean() / independent.mean()))


def test_two_rounds_have_a_closed_form():
    # C = [[1, 0], [a, 1]]: squared norm 1 + a², B = [[1, 0], [1 − a, 1]], summed squares 1 + 1 + (1 − a)².
    best = minimize_scalar(lambda a: (1 + a**2) * (2 + (1 - a) ** 2), bounds=(0, 1), method="bounded").fun
    assert BandedToeplitz.optimal(2, 2, 24).error(2) == pytest.approx(math.sqrt(best / 3), rel=1e-9)


def test_one_band_is_independent_noise():
    matrix = BandedToeplitz.optimal(50, 1, 4)
    assert matrix.coefficients == (16,)
    assert matrix.error(50) == 1
    assert matrix.squared_errors(50) == pytest.approx(np.arange(1, 51))


def test_the_square_root_is_one():
    root = square_root(60)
    assert root.tolist() == pytest.approx([float(Fraction(math.comb(2 * k, k), 4**k)) for k in range(60)], rel=1e-13)
    strategy = toeplitz(root, np.zeros(60))
    assert strategy @ strategy == pytest.approx(prefix(60))


@pytest.mark.parametrize("rounds", [8, 64, 500])
def test_without_a_limit_on_bands_the_error_is_at_most_that_of_the_square_root(rounds):
    """The square root's last error is ‖c‖₂⁴ (Fichtenberger et al. 2023); no Toeplitz matrix has less there."""
    scale = 2**24
    root = BandedToeplitz(tuple(round(value * scale) for value in square_root(rounds)))
    norm = sum((math.comb(2 * k, k) / 4**k) ** 2 for k in range(rounds))
    assert root.squared_errors(rounds)[-1] == pytest.approx(norm**2, rel=1e-5)
    # It grows like (ln T)/π.
    assert norm <= 1 + (1 + math.log(rounds)) / math.pi
    best = BandedToeplitz.optimal(rounds, rounds, 24)
    assert best.error(rounds) < root.error(rounds)
    assert best.error(rounds) > 0.95 * root.error(rounds)
    assert best.squared_errors(rounds)[-1] >= root.squared_errors(rounds)[-1] * (1 - 1e-6)


@pytest.mark.parametrize("rounds", [12, 60, 200])
def test_more_bands_never_do_worse(rounds):
    errors = [BandedToeplitz.optimal(rounds, bands, 24).error(rounds) for bands in range(1, min(rounds, 40) + 1)]
    for fewer, more in itertools.pairwise(errors):
        assert more <= fewer * (1 + 1e-9)
    assert errors[-1] < 0.7 * errors[0]


@pytest.mark.parametrize(("bits", "loss"), [(4, 0.02), (8, 1e-4), (12, 1e-6)])
def test_whole_numbers_cost_little(bits, loss):
    for rounds, bands in ((20, 5), (100, 20), (100, 100), (2000, 100)):
        best = BandedToeplitz.optimal(rounds, bands, 30).error(rounds)
        assert 1 - 1e-9 <= BandedToeplitz.optimal(rounds, bands, bits).error(rounds) / best <= 1 + loss


# Sensitivity -------------------------------------------------------------------------------------------------------


def patterns(rounds, participations, separation):
    for count in range(1, participations + 1):
        for chosen in itertools.combinations(range(rounds), count):
            if all(later - earlier >= separation for earlier, later in itertools.pairwise(chosen)):
                yield chosen


@pytest.mark.parametrize(
    ("rounds", "bands", "participations", "separation"), [(9, 3, 3, 3), (8, 2, 3, 3), (7, 4, 1, 1)]
)
def test_the_sensitivity_is_that_of_all_patterns_whatever_the_gradients(rounds, bands, participations, separation):
    matrix = BandedToeplitz.optimal(rounds, bands, 6)
    strategy, generator = dense(matrix, rounds), np.random.default_rng(1)
    bound = matrix.sensitivity_squared(participations, separation)
    largest = 0.0
    for chosen in patterns(rounds, participations, separation):
        for _ in range(10):
            unit = np.zeros((rounds, 3))
            directions = generator.normal(size=(len(chosen), 3))
            unit[list(chosen)] = directions / np.linalg.norm(directions, axis=1, keepdims=True)
            largest = max(largest, float(np.sum((strategy @ unit) ** 2)))
    assert largest <= bound * (1 + 1e-12)
    # It is met where all columns are whole, which the first and last possible ones need not be.
    fits = (participations - 1) * separation + bands <= rounds
    assert largest == pytest.approx(bound) if fits else largest <= bound


def test_a_unit_that_comes_back_too_soon_has_no_proof():
    matrix = BandedToeplitz.optimal(20, 5, 6)
    assert matrix.sensitivity_squared(4, 5) == 4 * sum(value**2 for value in matrix.coefficients)
    assert matrix.sensitivity_squared(1, 1) == matrix.column_norm_squared
    with pytest.raises(PrivacyError, match="after 4 rounds, but its gradient is used for 5"):
        matrix.sensitivity_squared(2, 4)
    with pytest.raises(PrivacyError, match="participations=0"):
        matrix.sensitivity_squared(0, 9)
    # Rightly so: two gradients of one direction in neighbouring rounds change the rows by more.
    strategy = dense(matrix, 20)
    assert np.sum((strategy[:, 3] + strategy[:, 4]) ** 2) > 1.2 * 2 * matrix.column_norm_squared


# Rows and gradients ------------------------------------------------------------------------------------------------


def test_rows_are_those_of_the_matrix_and_decode_to_the_gradients():
    rounds, dimension = 30, 7
    matrix = BandedToeplitz.optimal(rounds, 6, 8)
    gradients = np.random.default_rng(2).integers(-500, 500, size=(rounds, dimension))
    rows = [matrix.encode(list(gradients[: number + 1])) for number in range(rounds)]
    assert all(row.dtype == np.int64 for row in rows)
    assert np.array_equal(np.array(rows), np.rint(dense(matrix, rounds) @ gradients).astype(np.int64))
    assert np.abs(rows).max() <= matrix.growth * 500
    decoded = []
    for row in rows:
        before = row.copy()
        decoded.append(matrix.decode(row, decoded))
        assert np.array_equal(row, before)
    assert np.array(decoded) == pytest.approx(gradients, abs=1e-6)
    # Only the last b − 1 are looked at.
    assert matrix.decode(rows[-1], decoded[-6:-1]) == pytest.approx(gradients[-1], abs=1e-6)


def test_the_error_of_noisy_rows_is_what_is_said():
    rounds, dimension, participations = 40, 4000, 4
    matrix = BandedToeplitz.optimal(rounds, 10, 6)
    variance = float(25 * matrix.sensitivity_squared(participations, 10))  # noise multiplier 5, integers
    randomness, decoded = Randomness.system(), []
    for _ in range(rounds):
        decoded.append(matrix.decode(sample(randomness, variance, dimension), decoded))
    sums = np.cumsum(decoded, axis=0)
    found = (sums**2).mean(axis=1)
    expected = 25 * participations * matrix.squared_errors(rounds)
    assert found == pytest.approx(expected, rel=7 * math.sqrt(2 / dimension))
    assert math.sqrt(found.mean()) == pytest.approx(
        matrix.error(rounds) * math.sqrt(25 * participations * (rounds + 1) / 2), rel=0.05
    )
    assert matrix.error(rounds) < 0.6


# Wrong input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coefficients", [(), (0, 1), (-3,), (1.0, 1), (True,), (4, 0.5)])
def test_coefficients_that_make_no_matrix_are_refused(coefficients):
    with pytest.raises(PrivacyError, match="coefficients="):
        BandedToeplitz(coefficients)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((5, 6, 8), "bands=6"), ((5, 0, 8), "bands=0"), ((5, 2, 0), "bits=0"), ((5, 2, 31), "bits=31")],
)
def test_a_shape_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(PrivacyError, match=message):
        BandedToeplitz.optimal(*arguments)


def test_the_smallest_numbers_make_a_matrix_too():
    """A run with distributed noise and no bands is the first of these."""
    alone = BandedToeplitz((1,))
    assert (alone.error(9), alone.growth, alone.encode([np.array([3, -4])]).tolist()) == (1.0, 1, [3, -4])
    assert BandedToeplitz.optimal(5, 2, 1).coefficients[0] == 2


def test_nothing_is_encoded_or_judged_without_its_rounds():
    matrix = BandedToeplitz.optimal(5, 3, 4)
    with pytest.raises(PrivacyError, match="no gradient"):
        matrix.encode([])
    with pytest.raises(PrivacyError, match="rounds=2 >= bands=3"):
        matrix.error(2)


def test_the_table_of_the_page_is_what_comes_out():
    page = (Path(__file__).parents[2] / "docs" / "factorisation.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", page, flags=re.MULTILINE)
    assert [int(rounds) for rounds, _ in rows] == [20, 100, 500]
    for text, cells in rows:
        rounds = int(text)
        found = [f"{BandedToeplitz.optimal(rounds, bands, 8).error(rounds):.3f}" for bands in (2, 5, 10, 20, rounds)]
        assert found == cells.split(" | ")
