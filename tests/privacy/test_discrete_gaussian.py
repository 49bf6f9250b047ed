"""The sampler is exact: its table is proven by arbitrary precision, its decisions are those of arbitrary precision, and
what comes out has the distribution, which an independent slow sampler has too.

Draws come from the operating system, so that every run of these tests is a new experiment: a right implementation
fails one of them about once in a million runs.
"""

import decimal
import itertools
import math
from decimal import Decimal
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from scipy import stats

from sottovoce.errors import PrivacyError
from sottovoce.privacy import discrete_gaussian
from sottovoce.privacy.discrete_gaussian import CHUNK, sample, table_for, variance_of
from sottovoce.randomness import Randomness, SystemRandomness

SELDOM = 1e-6
SMALL = [1e-4, 0.01, 0.1, 0.3, 1 / 3, 0.5, 1.0, 1.7, 4.0, 10.0, 30.0, 100.0]
LARGE = [1e3, 5e3, 4096.0, 123_456.789, 1e6, 1e8, 1e10]
HUGE = [1e12, 2.0**60]


@pytest.fixture(autouse=True)
def digits():
    with mpmath.workdps(120):
        yield


def density(integer, variance):
    """exp(−x²/(2v)) by mpmath, at the variance's exact value."""
    exact = Fraction(variance)
    return mpmath.exp(-mpmath.mpf(int(integer) ** 2 * exact.denominator) / (2 * exact.numerator))


def integers_and_chances(variance):
    """All integers within 9 standard deviations, and their probabilities in float64."""
    reach = math.ceil(9 * math.sqrt(variance)) + 3
    integers = np.arange(-reach, reach + 1)
    weights = np.exp(-(integers.astype(np.float64) ** 2) / (2 * variance))
    return integers, weights / weights.sum()


def goodness(drawn, variance, bins=60):
    """p-value of a chi-square test of draws against N_Z(0, variance), in bins of about equal chance."""
    integers, chances = integers_and_chances(variance)
    below = np.cumsum(chances)
    edges = np.unique(integers[np.searchsorted(below, np.arange(1, bins) / bins)])  # upper ends of bins
    # The outermost integers with anything to expect get a bin of their own: small variances have few bins.
    edges = np.unique(np.concatenate([edges, [-3, -2, -1, 0, 1, 2]]))
    observed = np.bincount(np.searchsorted(edges, drawn, side="left"), minlength=len(edges) + 1)
    expected = np.diff(np.concatenate([[0.0], below[np.searchsorted(integers, edges)], [1.0]])) * len(drawn)
    lumped_observed, lumped_expected = lump(observed, expected)
    if len(lumped_expected) == 1:
        return 1.0
    return stats.chisquare(lumped_observed, lumped_expected * (len(drawn) / lumped_expected.sum())).pvalue


def lump(observed, expected, least=10):
    """Neighbouring bins joined until each expects something; what is left joins the last."""
    seen, wanted = [0.0], [0.0]
    for one, other in zip(observed, expected, strict=True):
        if wanted[-1] >= least:
            seen.append(0.0)
            wanted.append(0.0)
        seen[-1] += one
        wanted[-1] += other
    if len(wanted) > 1 and wanted[-1] < least:
        seen[-2:], wanted[-2:] = [sum(seen[-2:])], [sum(wanted[-2:])]
    return np.array(seen), np.array(wanted)


def test_the_exact_chances_are_those_of_theta_functions():
    for variance in (0.3, 10.0, 1e3):
        integers, chances = integers_and_chances(variance)
        total = mpmath.jtheta(3, 0, mpmath.exp(-1 / (2 * mpmath.mpf(variance))))
        for place in (0, len(integers) // 2, len(integers) // 2 + 2):
            expected = float(density(integers[place], variance) / total)
            assert chances[place] == pytest.approx(expected, rel=1e-12)


# The table ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variance", SMALL + LARGE + HUGE)
def test_a_table_shares_out_all_cells_and_never_asks_for_more_than_certainty(variance):
    table = table_for(variance)
    assert table.variance == Fraction(variance)
    assert table.heights.sum() + table.tail_height == len(table.block_of) == 1 << 16
    assert np.array_equal(np.bincount(table.block_of), [*table.heights, table.tail_height])
    width = 1 << table.shift
    assert np.array_equal(table.starts[:-1], np.arange(-table.blocks, table.blocks) * width)
    for start, height, certain, limit in zip(
        table.starts, table.heights, table.certain, table.limits[:-1], strict=False
    ):
        ends = sorted((int(start), int(start) + width - 1), key=abs)
        nearest, farthest = (table.scale * density(end, variance) / int(height) for end in ends)
        assert nearest < 1
        assert int(certain) <= farthest * 2**table.bits < 2**table.bits
        if start == 0 or variance > 1:
            assert int(certain) > farthest * 2**table.bits - 2  # as tight as it can be: the draws stay fast
        assert limit == pytest.approx(float(table.scale << table.bits) / int(height), rel=1e-15)
    assert table.certain[-1] == table.limits[-1] == 0


@pytest.mark.parametrize("variance", [10.0, 1e3])
def test_margins_cover_how_a_table_is_rounded(monkeypatch, variance):
    """With thirty digits their absence would be hidden below one unit of a word; eight digits show it."""
    monkeypatch.setattr(discrete_gaussian, "DIGITS", 8)
    table = table_for.__wrapped__(variance)
    for start, height, certain in zip(table.starts[:-1], table.heights, table.certain[:-1], strict=True):
        ends = sorted((int(start), int(start) + (1 << table.shift) - 1), key=abs)
        nearest, farthest = (table.scale * density(end, variance) / int(height) for end in ends)
        assert nearest < 1
        assert int(certain) <= farthest * 2**table.bits


def test_a_programs_own_settings_of_decimal_arithmetic_change_nothing(monkeypatch):
    for name, value in (("rounding", decimal.ROUND_UP), ("Emin", -3), ("Emax", 3)):
        monkeypatch.setattr(decimal.DefaultContext, name, value)
    with discrete_gaussian._digits(3):
        assert Decimal(1) / Decimal(3) == Decimal("0.333")
        tiny, large = Decimal("1e-1000000"), Decimal("1e1000000")
        assert tiny * 1 > 0
        assert large * 1 == large


@pytest.mark.parametrize("variance", SMALL + LARGE + HUGE)
def test_the_tail_dominates_the_density_for_ever(variance):
    table = table_for(variance)
    first, step = table.blocks << table.shift, 1 << table.tail_shift
    # From step to step the density falls by more than half, which the geometric variable pays for; and ever faster.
    assert (2 * first * step + step**2) / (2 * table.variance) > Fraction(math.log(2) + 1e-9)
    for number in range(40):
        nearest = density(first + number * step, variance)
        assert table.scale * nearest * 2 ** (number + 2 + table.tail_shift - table.shift) / table.tail_height < 1


# The decisions -----------------------------------------------------------------------------------------------------


class Given(SystemRandomness):
    """Predetermined words, one after the other; then an error."""

    def __init__(self, *words):
        super().__init__()
        self.given = [int(word) for word in words]

    def words(self, count):
        if count > len(self.given):
            raise IndexError("no words are left")
        taken, self.given = self.given[:count], self.given[count:]
        return np.array(taken, dtype=np.uint64)


def cell_of(table, block):
    return int(np.flatnonzero(table.block_of == block)[0])


def word_for(table, integer, uniform):
    """The word that proposes an integer with these first bits of U."""
    block = (integer >> table.shift) + table.blocks
    offset = integer & ((1 << table.shift) - 1)
    return (cell_of(table, block) << 48) | (offset << table.bits) | uniform


def chance(table, integer, variance):
    """p(x) for an integer in a block."""
    height = int(table.heights[(integer >> table.shift) + table.blocks])
    return table.scale * density(integer, variance) / height


@pytest.mark.parametrize("variance", [0.3, 10.0, 1e3, 123_456.789, 1e10])
def test_every_decision_is_that_of_arbitrary_precision(variance):
    table = table_for(variance)
    words = Randomness.system().words(4000)
    # Draws whose outcome is open are seldom: half of the words are made so, by U near its top.
    words[::2] |= np.uint64(((1 << table.bits) - 1) ^ ((1 << (table.bits - 5)) - 1))
    words = words[table.block_of[words >> np.uint64(48)] < 2 * table.blocks]
    expected = []
    for word in map(int, words):
        start = int(table.starts[table.block_of[word >> 48]])
        integer = start + ((word >> table.bits) & ((1 << table.shift) - 1))
        uniform = word & ((1 << table.bits) - 1)
        limit = chance(table, integer, variance) * 2**table.bits
        assert not uniform < limit < uniform + 1  # else the word alone does not decide, about once in 2³⁰
        if uniform < limit:
            expected.append(integer)
    accepted = discrete_gaussian._accepted(table, Given(*words), len(words))
    assert accepted.tolist() == expected
    assert 0.3 * len(words) < len(expected) < len(words)


@pytest.mark.parametrize("variance", [1e-4, 0.3, 10.0, 123_456.789, 1e10, 2.0**60])
@pytest.mark.parametrize("extra", [1, 2, 5])
def test_on_the_boundary_further_words_decide_and_arbitrary_precision_agrees(variance, extra):
    table = table_for(variance)
    std = math.sqrt(variance)
    for integer in sorted({0, -1, int(0.7 * std), -int(2.3 * std), int(4.1 * std)}):
        if not -table.blocks <= integer >> table.shift < table.blocks:
            continue
        bits = table.bits + 64 * extra
        limit = int(mpmath.floor(chance(table, integer, variance) * mpmath.mpf(2) ** bits))
        assert limit < 2**bits
        # U's first bits are those of p itself, up to the last word: one less is below p, one more is not.
        for uniform, below in ((limit - 1, True), (limit + 1, False)):
            if not 0 <= uniform < 2**bits:
                continue
            first, rest = uniform >> (64 * extra), uniform & ((1 << (64 * extra)) - 1)
            more = [(rest >> (64 * (extra - 1 - place))) & (2**64 - 1) for place in range(extra)]
            source = Given(word_for(table, integer, first), *more, 7)
            accepted = discrete_gaussian._accepted(table, source, 1)
            assert accepted.tolist() == ([integer] if below else [])
            # Exactly the words that were needed. At 0 and −1 p is (nearly) dyadic, and may be met exactly: one more.
            assert source.given == [7] or integer in (0, -1)


def test_a_word_right_at_the_float_computed_limit_is_never_trusted(monkeypatch):
    """Within the margin of what float64 says, the slow decision is asked each time."""
    asked = []

    def below(randomness, uniform, bits, factor, exponent):
        asked.append(uniform)
        return True

    monkeypatch.setattr(discrete_gaussian, "_below", below)
    variance = 123_456.789
    table = table_for(variance)
    for integer in (24, 240, -25):  # the nearest to 0 of their blocks: what is certain ends well below
        limit = float(chance(table, integer, variance)) * 2**table.bits
        near = [round(limit * (1 + part * discrete_gaussian.MARGIN)) for part in (-0.9, -0.5, 0, 0.5, 0.9)]
        source = Given(*(word_for(table, integer, uniform) for uniform in near))
        assert len(discrete_gaussian._accepted(table, source, len(near))) == len(near)
        assert asked == near
        asked.clear()


def test_exp_of_numpy_keeps_far_within_the_margin():
    exponents = np.concatenate([np.random.default_rng().uniform(0, 15, 2000), [0.0, 15.0]])
    worst = max(
        abs(mpmath.mpf(float(found)) / mpmath.exp(-mpmath.mpf(float(exponent))) - 1)
        for exponent, found in zip(exponents, np.exp(-exponents), strict=True)
    )
    assert worst < 64 * 2.0**-53


# The distribution --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variance", SMALL + LARGE)
def test_draws_have_the_exact_distribution_and_no_other_scale(variance):
    drawn = sample(Randomness.system(), variance, 200_000)
    assert drawn.dtype == np.int64
    assert goodness(drawn, variance) > SELDOM
    if variance >= 0.1:  # below, hardly any draw is other than 0
        for wrong in (2 / 3, 3 / 2):
            assert goodness(drawn, variance * wrong) < SELDOM


@pytest.mark.parametrize("variance", HUGE)
def test_at_a_huge_variance_draws_are_normal(variance):
    drawn = sample(Randomness.system(), variance, 200_000)
    assert stats.kstest(drawn, stats.norm(scale=math.sqrt(variance)).cdf).pvalue > SELDOM
    for wrong in (2 / 3, 3 / 2, 0.93, 1.07):
        assert stats.kstest(drawn, stats.norm(scale=math.sqrt(variance * wrong)).cdf).pvalue < SELDOM


@pytest.mark.parametrize("variance", [0.1, 0.3, 1.0])
def test_a_rounded_continuous_gaussian_would_be_found(variance):
    rounded = np.rint(np.random.default_rng().normal(0, math.sqrt(variance), 400_000)).astype(np.int64)
    assert goodness(rounded, variance) < SELDOM


@pytest.mark.parametrize("variance", [0.01, 0.3, 10.0, 1e3, 1e8, 1e12])
def test_moments_and_symmetry(variance):
    size = 1_000_000
    drawn = sample(Randomness.system(), variance, size).astype(np.float64)
    std = math.sqrt(variance_of(variance))
    assert abs(drawn.mean()) < 5 * std / math.sqrt(size)
    if variance < 0.1:
        return
    fourth = 3.0 if variance >= 10 else float(np.sum(np.multiply(*integers_and_fourth(variance))) / std**4)
    assert drawn.var() / std**2 == pytest.approx(1, abs=5 * math.sqrt((fourth - 1) / size))
    positive, negative = int((drawn > 0).sum()), int((drawn < 0).sum())
    assert stats.binomtest(positive, positive + negative).pvalue > SELDOM
    assert stats.ks_2samp(drawn[drawn > 0], -drawn[drawn < 0]).pvalue > SELDOM
    beyond = int((np.abs(drawn) > 3 * math.sqrt(variance)).sum())
    if variance >= 1e3:
        expected = 2 * size * stats.norm.sf((math.floor(3 * math.sqrt(variance)) + 0.5) / math.sqrt(variance))
        assert abs(beyond - expected) < 5 * math.sqrt(expected)


def integers_and_fourth(variance):
    integers, chances = integers_and_chances(variance)
    return integers.astype(np.float64) ** 4, chances


@pytest.mark.parametrize("variance", [0.3, 10.0, 1e6])
def test_what_lies_beyond_the_blocks_has_its_distribution_and_its_share(variance):
    table, randomness, tries = table_for(variance), Randomness.system(), 8000
    found = [discrete_gaussian._from_tail(table, randomness) for _ in range(tries)]
    drawn = np.array([integer for integer in found if integer is not None])
    first = table.blocks << table.shift
    assert ((drawn >= first) | (drawn < -first)).all()
    integers = np.arange(first, first + math.ceil(6 * math.sqrt(variance)) + 10)
    weights = np.exp(-(integers.astype(np.float64) ** 2) / (2 * variance))
    negative = np.exp(-((integers + 1.0) ** 2) / (2 * variance))  # −1 − y stands for y on the other side
    # The tail's cells are proposed tail_height·2⁻¹⁶ of the time, and scale·2⁻¹⁶⁻ˢʰⁱᶠᵗ·f(x) is the target everywhere.
    share = table.scale * (weights.sum() + negative.sum()) / 2**table.shift / table.tail_height
    assert stats.binomtest(len(drawn), tries, share).pvalue > SELDOM
    right = weights.sum() / (weights.sum() + negative.sum())
    assert stats.binomtest(int((drawn > 0).sum()), max(len(drawn), 1), right).pvalue > SELDOM
    if variance >= 10:
        distance = np.where(drawn >= 0, drawn, -1 - drawn) - first
        chances = np.cumsum(weights + negative) / (weights + negative).sum()
        bins = np.unique(np.searchsorted(chances, [0.2, 0.4, 0.6, 0.8]))
        expected = np.diff([0, *chances[bins], 1]) * len(drawn)
        observed = np.bincount(np.searchsorted(bins, distance), minlength=len(bins) + 1)
        assert stats.chisquare(*lump(observed, expected, 5)).pvalue > SELDOM


def test_a_tail_far_out_is_reached():
    """Coins that fall tails for long lead far out, where only a U that begins with many zeros is accepted."""
    table = table_for(10.0)
    # Side and offset; seventeen tails, then heads; U's first word and one that decides.
    words = [(1 << 63) | 0, (1 << 17) - 1, 0, 0, 0, 0, 1]
    integer = discrete_gaussian._from_tail(table, Given(*words))
    assert integer == -1 - (table.blocks + (17 << table.tail_shift))
    assert discrete_gaussian._from_tail(table, Given((1 << 63) | 0, (1 << 17) - 1, 1 << 40)) is None


def test_a_draw_whose_cell_is_the_tails_comes_from_the_tail_or_is_drawn_again():
    """It is one in two million, too seldom for tests of distributions to see that it is lost."""
    table = table_for(10.0)
    tail = (cell_of(table, 2 * table.blocks) << 48) | 12_345
    far = [(1 << 63) | 0, (1 << 17) - 1, 0, 0, 0, 0, 1]
    integer = -1 - (table.blocks + (17 << table.tail_shift))
    assert discrete_gaussian._accepted(table, Given(tail, *far), 1).tolist() == [integer]
    assert discrete_gaussian._accepted(table, Given(tail, (1 << 63) | 0, (1 << 17) - 1, 1 << 40), 1).tolist() == []


def test_the_variance_itself_is_smaller_than_the_parameter():
    for variance in (0.01, 0.1, 0.3, 1.0, 2.9, 3.0, 10.0):
        integers, _ = integers_and_chances(variance)
        weights = [density(integer, variance) for integer in integers]
        exact = mpmath.fsum(int(x) ** 2 * weight for x, weight in zip(integers, weights, strict=True))
        assert variance_of(variance) == pytest.approx(float(exact / mpmath.fsum(weights)), rel=1e-12, abs=1e-300)
        assert variance_of(variance) <= variance
    assert variance_of(1e10) == 1e10
    assert variance_of(0.01) < 1e-20


# An independent sampler --------------------------------------------------------------------------------------------


class Reference:
    """Canonne, Kamath & Steinke, "The Discrete Gaussian for Differential Privacy" (NeurIPS 2020), algorithms 1 to 3.

    All of it in Python's integers and fractions: slow, exact, and of another design than what it checks.
    """

    def __init__(self, randomness):
        self._bits = iter(lambda: int(randomness.words(1)[0]), None)

    def uniform(self, below):
        """Uniform on {0, …, below − 1}."""
        bits = (below - 1).bit_length()
        while True:
            drawn = sum(next(self._bits) << (64 * place) for place in range(-(-bits // 64))) & ((1 << bits) - 1)
            if drawn < below:
                return drawn

    def bernoulli(self, chance):
        return self.uniform(chance.denominator) < chance.numerator

    def bernoulli_exp(self, exponent):
        """Bernoulli(exp(−exponent)): algorithm 1."""
        while exponent > 1:
            if not self.bernoulli_exp(Fraction(1)):
                return False
            exponent -= 1
        for count in itertools.count(1):
            if not self.bernoulli(exponent / count):
                return count % 2 == 1
        raise AssertionError

    def laplace(self, scale):
        """The discrete Laplace distribution of a whole scale: algorithm 2."""
        while True:
            low = self.uniform(scale)
            if not self.bernoulli_exp(Fraction(low, scale)):
                continue
            high = 0
            while self.bernoulli_exp(Fraction(1)):
                high += 1
            size, negative = low + scale * high, self.bernoulli(Fraction(1, 2))
            if size or not negative:
                return -size if negative else size

    def gaussian(self, variance):
        """The discrete Gaussian: algorithm 3."""
        scale = math.isqrt(math.floor(variance)) + 1
        while True:
            drawn = self.laplace(scale)
            if self.bernoulli_exp((abs(drawn) - variance / scale) ** 2 / (2 * variance)):
                return drawn


@pytest.mark.parametrize("variance", [0.3, 1.7, 30.0, 5e3])
def test_an_independent_exact_sampler_draws_the_same(variance):
    reference, exact = Reference(Randomness.system()), Fraction(variance)
    slow = np.array([reference.gaussian(exact) for _ in range(4000)])
    fast = sample(Randomness.system(), variance, 40_000)
    assert goodness(slow, variance, bins=20) > SELDOM
    assert goodness(slow, variance * 1.5, bins=20) < SELDOM
    edges = np.unique(np.quantile(fast, np.linspace(0.05, 0.95, 19)))
    table = [np.bincount(np.searchsorted(edges, drawn), minlength=len(edges) + 1) for drawn in (slow, fast)]
    table = np.array(table)[:, np.sum(table, axis=0) > 20]
    assert stats.chi2_contingency(table).pvalue > SELDOM


# The edges ---------------------------------------------------------------------------------------------------------


def test_draws_are_independent_of_one_another_and_of_chunks():
    drawn = sample(Randomness.system(), 1e4, 400_000).astype(np.float64)
    for lag in (1, 2, CHUNK - 300, CHUNK):
        assert abs(np.corrcoef(drawn, np.roll(drawn, lag))[0, 1]) < 5 / math.sqrt(drawn.size)
        assert abs(np.corrcoef(drawn**2, np.roll(drawn, lag) ** 2)[0, 1]) < 5 / math.sqrt(drawn.size)


@pytest.mark.parametrize("size", [0, 1, 2, CHUNK - 1, CHUNK, CHUNK + 1])
def test_there_are_as_many_as_were_asked_for(size):
    assert sample(Randomness.system(), 50.0, size).shape == (size,)


def test_a_simulation_repeats_and_the_system_does_not():
    def draw(randomness):
        return sample(randomness, 1e6, 100).tolist()

    assert draw(Randomness.for_simulation(3)) == draw(Randomness.for_simulation(3))
    assert draw(Randomness.for_simulation(3)) != draw(Randomness.for_simulation(4))
    assert draw(Randomness.system()) != draw(Randomness.system())


@pytest.mark.parametrize("variance", [0.0, -1.0, math.nan, math.inf, 1e-5, 2.0**61])
def test_a_variance_without_a_table_is_refused(variance):
    with pytest.raises(PrivacyError, match="Expected variance="):
        sample(Randomness.system(), variance, 3)


def test_a_negative_size_is_refused():
    with pytest.raises(PrivacyError, match="Expected size=-1"):
        sample(Randomness.system(), 1.0, -1)
