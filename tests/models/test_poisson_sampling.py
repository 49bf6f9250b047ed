import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sottovoce.errors import PrivacyError
from sottovoce.models.discovery import family
from sottovoce.privacy.calibration import plan_for
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import Balance, Unit
from sottovoce_client.training.poisson_sampling import UnitSampler, loss_weights, unit_rates

SVM = family("style", "svm")
RANDOM = Randomness.system()


def test_a_batch_is_poisson(dataset_of):
    """Each unit by itself: the batch's size varies as a sum of Bernoulli draws does, with its mean and variance."""
    dataset = dataset_of(SVM, [1] * 50)
    sampler = UnitSampler.of(dataset, np.full(50, 0.2))
    sizes = [len(sampler.draw(RANDOM)) for _ in range(2000)]
    expected = stats.binom.pmf(np.arange(51), 50, 0.2) * len(sizes)
    observed = np.bincount(sizes, minlength=51)
    common = expected > 5
    observed = np.append(observed[common], observed[~common].sum())
    expected = np.append(expected[common], expected[~common].sum())
    assert stats.chisquare(observed, expected).pvalue > 1e-6


def test_units_are_drawn_independently(dataset_of):
    sampler = UnitSampler.of(dataset_of(SVM, [1, 1]), np.array([0.5, 0.5]))
    drawn = np.array([np.isin([0, 1], sampler.draw(RANDOM)) for _ in range(4000)])
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.1


def test_an_artist_gives_one_track_and_each_track_in_turn(dataset_of):
    dataset = dataset_of(SVM, [1] * 6, units=["a", "b", "a", "c", "a", "b"])
    sampler = UnitSampler.of(dataset, np.ones(dataset.units))
    drawn = np.array([sampler.draw(RANDOM) for _ in range(200)])
    assert drawn.shape == (200, 3)
    assert [set(column) for column in drawn.T] == [{0, 2, 4}, {1, 5}, {3}]


def test_nobody_may_be_drawn(dataset_of):
    assert UnitSampler.of(dataset_of(SVM, [1, 1]), np.zeros(2)).draw(RANDOM).size == 0


def test_the_rate_is_that_of_the_plan(dataset_of, config_of):
    dataset, config = dataset_of(SVM, [1] * 40), config_of(SVM, batch_size=10)
    assert np.allclose(unit_rates(dataset, config, plan_for(config, 40), None), 0.25)
    assert np.allclose(unit_rates(dataset, config.changed(private=False), None, None), 0.25)


@settings(max_examples=60)
@given(
    histogram=st.lists(st.floats(-50, 500), min_size=3, max_size=3),
    base_rate=st.floats(0.01, 1.0),
    noise=st.floats(0.1, 50),
)
def test_class_aware_rates_stay_within_what_is_accounted_for(
    dataset_of, config_of, plan_of, histogram, base_rate, noise
):
    config = config_of(SVM, balance=Balance.SAMPLING)
    plan = plan_of(config, base_rate=base_rate, sample_rate=min(1.0, 2 * base_rate), histogram_noise=noise)
    rates = unit_rates(dataset_of(SVM, [1] * 9), config, plan, np.array(histogram))
    assert (rates > 0).all()
    assert (rates <= plan.sample_rate).all()


def test_rare_classes_are_drawn_more_often(dataset_of, config_of):
    dataset = dataset_of(SVM, [1] * 12, targets=[0] * 8 + [1] * 3 + [2])
    config = config_of(SVM, balance=Balance.SAMPLING, batch_size=3, private=False)
    rates = unit_rates(dataset, config, None, np.array([8.0, 3.0, 1.0]))
    assert rates[0] < rates[8] <= rates[11]


def test_rare_classes_weigh_more(config_of):
    config = config_of(SVM, balance=Balance.LOSS, private=False)
    weights = loss_weights(config, None, np.array([8.0, 3.0, 1.0]))
    assert np.allclose(weights * [8, 3, 1], weights[0] * 8)
    assert loss_weights(config.changed(balance=Balance.NONE), None, None).tolist() == [1, 1, 1]


def test_balancing_needs_an_accounted_histogram(dataset_of, config_of):
    config, dataset = config_of(SVM, batch_size=4), dataset_of(SVM, [1] * 12)
    sampling, loss = (config.changed(balance=balance) for balance in (Balance.SAMPLING, Balance.LOSS))
    with pytest.raises(PrivacyError, match="histogram"):
        unit_rates(dataset, sampling, plan_for(sampling, 12), None)
    with pytest.raises(PrivacyError, match="histogram"):
        loss_weights(loss, plan_for(loss, 12), None)


def test_artists_are_counted_as_units(dataset_of, config_of):
    dataset = dataset_of(SVM, [1] * 12, units=[f"artist {index % 4}" for index in range(12)])
    config = config_of(SVM, unit=Unit.ARTIST, batch_size=2, private=False)
    assert unit_rates(dataset, config, None, None).tolist() == [0.5] * 4
