import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sottovoce.errors import PrivacyError
from sottovoce.privacy.class_balance import LARGEST_WEIGHT, class_rates, class_weights, main_class, noisy_histogram
from sottovoce.randomness import Randomness

HISTOGRAMS = st.lists(st.floats(-50, 5000), min_size=2, max_size=12).map(np.array)


def test_the_histogram_has_the_noise_that_is_charged_for():
    classes = np.repeat([0, 1, 3], [500, 20, 3])
    drawn = np.array([noisy_histogram(classes, 4, 3.0, Randomness.system()) for _ in range(4000)])
    noise = ((drawn - [500, 20, 0, 3]) / 3.0).ravel()
    assert stats.kstest(noise, "norm").pvalue > 1e-6
    for wrong in (2 / 3, 3 / 2):
        assert stats.kstest(noise / wrong, "norm").pvalue < 1e-6


def test_a_class_outside_the_run_is_refused():
    for wrong in ([0, 3], [-1, 1]):
        with pytest.raises(PrivacyError, match="not among"):
            noisy_histogram(np.array(wrong), 3, 1.0, Randomness.system())


def test_an_artist_counts_once_for_the_most_frequent_style():
    assert main_class([2, 1, 1, 0]) == 1
    assert main_class([2, 0, 2, 0]) == 0
    assert main_class([4]) == 4


@given(HISTOGRAMS, st.floats(0.5, 20))
def test_weights_average_to_one_and_stay_bounded(histogram, noise):
    weights = class_weights(histogram, noise)
    counts = np.maximum(histogram, max(noise, 1))
    assert (weights > 0).all()
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1)
    assert weights.max() / weights.min() <= LARGEST_WEIGHT * 1.0001


def test_weights_even_the_classes_out():
    weights = class_weights(np.array([400.0, 100.0, 100.0]), 2.0)
    assert weights == pytest.approx([0.5, 2.0, 2.0])


@given(HISTOGRAMS, st.floats(0.5, 20), st.floats(0.001, 1), st.floats(1, 3))
def test_rates_never_exceed_what_is_accounted_for(histogram, noise, base_rate, times):
    largest = min(1.0, times * base_rate)
    rates = class_rates(histogram, noise, base_rate=base_rate, largest=largest)
    counts = np.maximum(histogram, max(noise, 1))
    assert (rates > 0).all()
    assert rates.max() <= largest
    assert (rates * counts).sum() == pytest.approx(base_rate * counts.sum())


def test_rates_fill_a_batch_evenly_up_to_their_limit():
    even = class_rates(np.array([300.0, 200.0, 100.0]), 1.0, base_rate=0.1, largest=0.5)
    assert even * [300, 200, 100] == pytest.approx([20, 20, 20])
    limited = class_rates(np.array([880.0, 100.0, 20.0]), 1.0, base_rate=0.1, largest=0.2)
    assert limited == pytest.approx([76 / 880, 0.2, 0.2])


@pytest.mark.parametrize(("owned", "counts"), [([], [0, 0, 0]), ([1, 1], [0, 2, 0]), ([0, 0, 0], [3, 0, 0])])
def test_a_class_that_no_unit_has_is_counted_too(owned, counts):
    found = noisy_histogram(np.array(owned, np.int64), 3, 1e-6, Randomness.system())
    assert found == pytest.approx(counts, abs=1e-3)
