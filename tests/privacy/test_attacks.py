import numpy as np
import pytest
from scipy import stats
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from sottovoce.errors import ConfigurationError
from sottovoce.features.spec import FeatureSpec
from sottovoce.models import parameters as flat
from sottovoce.models.style.svm import Linear, Svm
from sottovoce.privacy.calibration import plan_for
from sottovoce.randomness import Randomness
from sottovoce_client.data.dataset import Sample, TrackDataset
from sottovoce_client.training.dp_sgd import train
from sottovoce_client.training.round_inputs import RoundInputs
from sottovoce_simulations.attacks.membership import attack, membership, track_losses


def test_the_area_is_that_of_scikit_learn_with_ties():
    generator = np.random.default_rng(1)
    members, others = generator.integers(0, 9, 300) * 1.0, generator.integers(2, 11, 200) * 1.0
    found = membership(members, others)
    truth = np.repeat([1, 0], [300, 200])
    assert found.auc == pytest.approx(roc_auc_score(truth, -np.concatenate([members, others])))
    assert (found.members, found.others) == (300, 200)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(2)
    truth = norm.cdf(0.5 / np.sqrt(2))
    covered = [
        found.auc_low <= truth <= found.auc_high
        for found in (membership(generator.normal(0, 1, 120), generator.normal(0.5, 1, 80)) for _ in range(600))
    ]
    assert stats.binomtest(sum(covered), 600, 0.95).pvalue > 1e-4


def test_members_found_at_few_false_accusations_are_counted():
    others = np.arange(1000.0)
    found = membership(np.concatenate([np.full(30, -1.0), np.full(70, 500.0)]), others)
    assert found.true_positives == 0.3


@pytest.mark.parametrize("scale", [1.0, -1.0])
def test_a_perfect_and_a_useless_score(scale):
    perfect = membership(np.arange(50) - 100.0, np.arange(50) * 1.0)
    assert (perfect.auc, perfect.auc_low, perfect.auc_high, perfect.true_positives) == (1, 1, 1, 1)
    same = membership(np.full(50, scale), np.full(50, scale))
    assert (same.auc, same.true_positives) == (0.5, 0)


def test_what_says_nothing_is_refused():
    with pytest.raises(ConfigurationError, match="at least 10 members"):
        membership(np.zeros(9), np.zeros(50))
    with pytest.raises(ConfigurationError, match="not a number"):
        membership(np.full(20, np.nan), np.zeros(20))


class Wide(Svm):
    """The linear model on vectors wider than the number of tracks, so that it can memorise all of them."""

    def build(self, spec, classes):
        return Linear(INPUTS, classes)


FAMILY = Wide()
TRACKS = 150
INPUTS = 300


@pytest.fixture
def datasets():
    """Members and non-members from one distribution, with random labels, so that the model can only memorise."""
    spec = FeatureSpec()
    generator = np.random.default_rng(3)

    def made():
        samples = (
            Sample(generator.normal(size=(2, INPUTS)).astype(np.float32), int(generator.integers(3)))
            for _ in range(TRACKS)
        )
        return TrackDataset.build(samples, spec)

    return made(), made()


def trained(config, members, randomness):
    """The real training, as a single label would do it for all rounds."""
    parameters = flat.initial(FAMILY, members.spec, len(config.classes), seed=0)
    plan = plan_for(config, members.units) if config.private else None
    for _ in range(config.rounds):
        parameters = parameters + train(RoundInputs(FAMILY, parameters, members, config, plan, randomness))
    return parameters


def test_a_model_without_privacy_is_caught_and_a_private_one_is_not(config, datasets):
    members, others = datasets
    randomness = Randomness.for_simulation(11)
    config = config.changed(
        feature_spec=members.spec.digest, rounds=30, segments_per_track=2, batch_size=64, learning_rate=8.0, epsilon=1.0
    )
    bare = attack(FAMILY, trained(config.changed(private=False), members, randomness), members, others, 3)
    private = attack(FAMILY, trained(config, members, randomness), members, others, 3)
    assert bare.auc_low > 0.8
    # Noise of ε = 1 at δ = 1e-5 lets no attack whatever expect more than 0.58 (Dong et al. 2022: 0.27-GDP).
    assert private.auc_low < 0.53
    assert private.auc_high < 0.7


def test_losses_are_of_whole_tracks(datasets):
    members, _ = datasets
    parameters = flat.initial(FAMILY, members.spec, 3, seed=0) + np.float32(0.01)
    losses = track_losses(FAMILY, parameters, members, 3)
    assert losses.shape == (TRACKS,)
    backwards = TrackDataset.build(
        (
            Sample(np.array(members.segments[2 * index : 2 * index + 2]), int(members.targets[index]))
            for index in reversed(range(TRACKS))
        ),
        members.spec,
    )
    assert track_losses(FAMILY, parameters, backwards, 3)[::-1] == pytest.approx(losses)
