"""Promise: noise does not reveal how many units a label has. One track more or less changes no plan, rate or refusal.

The attack: the coordinator invents 100 styles, so that an update has 40,000 coordinates, and measures the variance of
four rounds' noise. When q and z followed from the exact number of tracks, this distinguished 100 tracks from 99 every
time, at a claimed ε of 0.497, which limits any attacker to an AUC of 0.622.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from sottovoce.errors import CatalogueError, ConfigurationError
from sottovoce.features.extract import default_spec, summary_names
from sottovoce.features.spec import View
from sottovoce.federation.agreement import Agreement, Member
from sottovoce.federation.identity import Identity
from sottovoce.models import discovery
from sottovoce.models.trainable import trainable_mask
from sottovoce.privacy.plan import PrivacyPlan
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import Balance, RunConfiguration, Unit
from sottovoce_client.data.dataset import Sample, TrackDataset
from sottovoce_client.data.preparation import prepare
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.policy import Policy
from sottovoce_client.rounds import local_round
from sottovoce_client.training.dp_sgd import train
from sottovoce_client.training.round_inputs import RoundInputs

STYLES = tuple(f"style {number}" for number in range(100))
ROUNDS, TRIALS = 4, 10
ALLOWED = 0.622
SPREAD = 1 / np.sqrt(6 * TRIALS)
"""Standard deviation of an AUC of guesses."""


@pytest.fixture(scope="module")
def agreement():
    members = tuple(Member(f"label-{number}", Identity.generate().public_key) for number in range(5))
    return Agreement("test", Identity.generate().public_key, members)


def a_run(balance: Balance, batch_size: int = 25) -> RunConfiguration:
    return RunConfiguration(
        task="style",
        family="svm",
        classes=STYLES,
        feature_spec=discovery.spec_of("style", "svm").digest,
        first_parameters="0" * 64,
        rounds=ROUNDS,
        local_steps=1,
        batch_size=batch_size,
        learning_rate=0.1,
        momentum=0.0,
        max_grad_norm=1.0,
        private=True,
        epsilon=0.5,
        delta=1e-5,
        unit=Unit.TRACK,
        distributed=None,
        balance=balance,
        segments_per_track=1,
        update_clip=1e6,
        ring_bits=32,
        server_optimizer="fedavg",
        server_learning_rate=1.0,
        seed=0,
    )


def tracks(number: int) -> TrackDataset:
    """The first tracks of one fixed catalogue."""
    random = np.random.default_rng(0)
    features = random.normal(size=(100, 1, len(summary_names(default_spec())))).astype(np.float32)
    return TrackDataset.build((Sample(features[i], i % len(STYLES)) for i in range(number)), default_spec())


def measured_variance(config: RunConfiguration, plan: PrivacyPlan, data: TrackDataset, seed: int) -> float:
    """The attacker's statistic of a run's updates."""
    randomness, family = Randomness.for_simulation(seed), discovery.family("style", "svm")
    parameters = np.zeros(trainable_mask(config).size, np.float32)
    histogram = None
    if config.balance is not Balance.NONE:
        histogram = np.asarray(local_round.histogram_of(data, len(STYLES), plan, randomness))
    rounds = [
        train(RoundInputs(family, parameters, data, config, plan, randomness, histogram, number))
        for number in range(1, ROUNDS + 1)
    ]
    return float(np.square(np.array(rounds, np.float64)).mean())


@pytest.fixture(scope="module")
def auc(agreement) -> Callable[[Balance, tuple[int, int]], float]:
    """AUC of distinguishing 100 tracks from 99, with declarations of them, by the variance of a run's updates."""

    @cache
    def scores(balance: Balance, number: int, declared: int) -> list[float]:
        config, data = a_run(balance), tracks(number)
        plan = local_round.plan_of(config, agreement, Policy(declared_tracks=declared))
        return [measured_variance(config, plan, data, 1000 * number + trial) for trial in range(TRIALS)]

    def auc(balance: Balance, declared: tuple[int, int]) -> float:
        found = [scores(balance, *each) for each in zip((100, 99), declared, strict=True)]
        area = roc_auc_score([1] * TRIALS + [0] * TRIALS, np.concatenate(found))
        return max(area, 1 - area)

    return auc


@pytest.mark.parametrize("balance", [Balance.NONE, Balance.SAMPLING])
def test_the_updates_of_99_tracks_are_not_told_from_those_of_100(auc, balance):
    assert auc(balance, (100, 100)) < ALLOWED + 2 * SPREAD


def test_with_the_exact_number_for_a_declaration_the_attack_would_succeed(auc):
    """The control: this is what a plan from the exact number gave away."""
    assert auc(Balance.NONE, (100, 99)) > 0.99


def test_no_style_list_tells_how_many_tracks_there_are(agreement):
    """Whether a label joins was a threshold on the exact count under a style list of the coordinator's choice."""
    config, policy = a_run(Balance.SAMPLING), Policy(declared_tracks=100)
    plan = local_round.plan_of(config, agreement, policy)
    nothing = TrackDataset.empty(default_spec(), View.SUMMARY)
    assert measured_variance(config, plan, nothing, 1) > 0
    with pytest.raises(CatalogueError, match="declares 9"):
        local_round.plan_of(config, agreement, Policy(declared_tracks=9))


def test_an_empty_catalogue_is_prepared_for_a_private_run_and_for_no_other(tmp_path):
    (tmp_path / "music").mkdir()
    home = LabelHome.create(tmp_path / "home", name="empty", catalogues=[tmp_path / "music"])
    config = a_run(Balance.NONE)
    assert len(prepare(home, config).train) == 0
    with pytest.raises(CatalogueError):
        prepare(home, config.changed(private=False))


@pytest.mark.parametrize("number", [487, 101, -10])
def test_an_exact_number_cannot_be_declared(number):
    with pytest.raises(ConfigurationError, match="two significant digits"):
        Policy(declared_tracks=number)
