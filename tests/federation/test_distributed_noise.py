"""Runs whose labels share one noise: what the unmasked sum holds, what it costs, and who is refused."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2

from sottovoce.errors import ConfigurationError, RoundAborted
from sottovoce.features.extract import default_spec
from sottovoce.federation.refusals import RefusalReason
from sottovoce.models import discovery
from sottovoce.models.parameters import initial
from sottovoce.models.trainable import trainable_mask
from sottovoce.privacy.accountant import epsilon
from sottovoce.privacy.calibration import with_least_noise
from sottovoce.privacy.distributed_gaussian import DistributedDiscreteGaussian
from sottovoce.privacy.events import HeldOutCounts
from sottovoce.protocol.layout import VectorLayout
from sottovoce.protocol.messages import Announcement
from sottovoce.run.configuration import Balance, BandedFactorisation, DistributedNoise, Trust, Unit
from sottovoce.run.global_model import GlobalModel
from sottovoce.run.records import Action
from sottovoce.run.round_sum import RoundSum
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.rounds import local_round
from sottovoce_client.rounds.label import Label
from sottovoce_server.flower.run_app import train
from sottovoce_server.rounds.checkpoint import Keeper

LABELS, HONEST = 5, 3


@pytest.fixture
def agreement(agreement):
    return replace(agreement, n_min=LABELS - 1, noise=Trust.DISTRIBUTED, min_honest=HONEST)


@pytest.fixture
def labels(federation, agreement):
    for home in federation.homes:
        agreement.write(home.agreement_file)
        home.policy_file.write_text(
            'trust = ["distributed"]\nepsilon_per_run = 60.0\nepsilon_lifetime = 60.0\ndeclared_tracks = 60\n'
        )
    return [Label(home) for home in federation.homes]


@pytest.fixture
def parameters(config):
    return initial(discovery.family("style", "svm"), default_spec(), len(config.classes), 0).size


@pytest.fixture
def distributed(configured, parameters):
    def make(*, min_honest=HONEST, sample_rate=1.0, clip_quantile=None, banded=None, **changes):
        noise = DistributedNoise(min_honest, 1.0, sample_rate, clip_quantile, banded)
        values = {"local_steps": 1, "batch_size": 240, "server_optimizer": "fedavgm", "learning_rate": 40.0}
        return with_least_noise(configured(distributed=noise, **{**values, **changes}), parameters, LABELS)

    return make


@pytest.fixture
def sums(monkeypatch):
    """What the coordinator decodes, round by round: (survivors, Decoded)."""
    seen = []
    decode = VectorLayout.decode

    def keep(layout, total, survivors):
        decoded = decode(layout, total, survivors)
        seen.append((survivors, decoded))
        return decoded

    monkeypatch.setattr(VectorLayout, "decode", keep)
    return seen


def is_variance(values, variance):
    """Whether independent centred values have this variance, by a χ² test; the sides together fail once in 10⁵."""
    statistic = (values.astype(float) ** 2).sum() / variance
    return chi2.ppf(5e-6, values.size) < statistic < chi2.ppf(1 - 5e-6, values.size)


def spent(label, delta=1e-5):
    with Ledger(label.home.ledger_file) as ledger:
        return ledger.epsilon(delta)


def test_labels_learn_together(grid, agreement, distributed):
    outcome = train(grid, agreement, distributed(rounds=8, epsilon=50.0))
    assert all(record.survivors == tuple(f"label-{n}" for n in range(1, 6)) for record in outcome.history.rounds)
    assert outcome.history.metrics[8]["accuracy"] > 0.85


@pytest.mark.parametrize("lost", [0, 1], ids=["nobody drops out", "as many as may"])
def test_the_sum_carries_exactly_the_declared_noise(grid, agreement, distributed, parameters, sums, monkeypatch, lost):
    """With the tracks' part taken out, what is left in the sum is noise alone."""
    config = distributed(rounds=3)
    monkeypatch.setattr(local_round, "clipped_sum", lambda inputs, signs: np.zeros(parameters, np.int64))
    grid.lose = lambda label, action: action == Action.TRAIN.value and label in ("label-2",)[:lost]
    train(grid, agreement, config)
    told = DistributedDiscreteGaussian.of(config, parameters, LABELS).event(HONEST, 1.0, 1)
    for survivors, decoded in sums[: config.rounds]:
        assert survivors == LABELS - lost
        assert is_variance(decoded.integers, survivors * told.variance)
        for wrong in (2 / 3, 3 / 2):
            assert not is_variance(decoded.integers, wrong * survivors * told.variance)
        # What the accountant counts on is part of it.
        assert survivors >= told.min_honest


@pytest.mark.parametrize("bug", ["no noise at one label", "divided by the number of labels"])
def test_too_little_noise_would_be_noticed(grid, agreement, distributed, parameters, sums, monkeypatch, bug):
    monkeypatch.setattr(local_round, "clipped_sum", lambda inputs, signs: np.zeros(parameters, np.int64))
    right = local_round.add_noise
    calls = []

    def wrong(rows, plan, randomness):
        calls.append(1)
        if bug == "no noise at one label":
            return rows[-1] if len(calls) % LABELS == 0 else right(rows, plan, randomness)
        return right(
            rows,
            replace(plan, mechanism=replace(plan.mechanism, variance=plan.mechanism.variance / HONEST)),
            randomness,
        )

    monkeypatch.setattr(local_round, "add_noise", wrong)
    config = distributed(rounds=4)  # so many values that the test misses a fifth of the noise less than once in 10⁹
    train(grid, agreement, config)
    told = DistributedDiscreteGaussian.of(config, parameters, LABELS).event(HONEST, 1.0, 1)
    values = np.concatenate([decoded.integers for _, decoded in sums[: config.rounds]])
    assert not is_variance(values, LABELS * told.variance)


def test_every_label_pays_the_same_and_what_was_promised(grid, agreement, distributed, labels):
    config = distributed(rounds=4)
    outcome = train(grid, agreement, config)
    figures = {spent(label) for label in labels}
    assert len(figures) == 1
    assert 0.98 * config.epsilon < figures.pop() <= config.epsilon
    assert {promise.epsilon for promise in outcome.history.promises} == {config.epsilon}


def test_a_run_costs_what_pooled_training_with_the_same_noise_costs(distributed, parameters):
    """Nothing of any catalogue, and not the number of labels, is in the price: one budget over all."""
    config = distributed(rounds=4)
    event = DistributedDiscreteGaussian.of(config, parameters, LABELS).event(HONEST, 1.0, 4)
    assert event.noise_multiplier == pytest.approx(config.distributed.noise_multiplier)
    assert epsilon([event], config.delta) == pytest.approx(config.epsilon, rel=0.02)


@pytest.mark.parametrize("balance", [Balance.LOSS, Balance.SAMPLING])
def test_balancing_classes_is_accounted_for_within_the_same_ceiling(grid, agreement, distributed, labels, balance):
    config = distributed(rounds=2, balance=balance, sample_rate=0.3)
    train(grid, agreement, config)
    for label in labels:
        assert 0.9 * config.epsilon < spent(label) <= config.epsilon


def test_a_round_whose_survivors_could_carry_too_little_is_aborted(grid, agreement, distributed, labels):
    """Four of five are needed; with three there is no sum, and what was charged stays charged."""
    config = distributed(rounds=2)
    grid.lose = lambda label, action: action == Action.TRAIN.value and label in ("label-2", "label-3")
    with pytest.raises(RoundAborted, match="Every round"):
        train(grid, agreement, config)
    assert all(spent(label) > 0 for label in labels)


def test_as_many_labels_as_the_agreement_wants_in_a_sum_are_enough(grid, agreement, distributed, labels):
    config = distributed(rounds=1)
    grid.lose = lambda label, action: action == Action.ANNOUNCE.value and label == "label-5"
    outcome = train(grid, agreement, config)
    assert outcome.history.rounds[0].survivors == tuple(f"label-{n}" for n in range(1, 5))


def test_a_run_on_other_terms_than_agreed_is_declined(grid, agreement, distributed, configured):
    for config in (distributed(min_honest=2), configured(epsilon=8.0)):
        with pytest.raises(RoundAborted) as caught:
            train(grid, agreement, config)
        assert RefusalReason.AGREEMENT.explained in caught.value.hint


def test_a_label_that_trusts_nobody_declines(grid, agreement, distributed, labels):
    home = labels[0].home
    home.policy_file.write_text('trust = ["local"]\n')
    grid.labels[0] = Label(home)
    history = train(grid, agreement, distributed(rounds=1)).history
    assert history.refusals == {"label-1": RefusalReason.TRUST}
    assert spent(labels[0]) == 0


def test_a_label_with_a_lower_ceiling_declines(grid, agreement, distributed, labels):
    """It cannot add its own noise to the sum of all labels."""
    home = labels[0].home
    home.policy_file.write_text('trust = ["distributed"]\nepsilon_per_run = 4.0\ndeclared_tracks = 60\n')
    grid.labels[0] = Label(home)
    history = train(grid, agreement, distributed(rounds=1, epsilon=8.0)).history
    assert history.refusals == {"label-1": RefusalReason.PRIVACY}


def test_a_label_that_wants_fewer_honest_others_assumed_declines(grid, agreement, distributed, labels):
    home = labels[0].home
    home.policy_file.write_text(f'trust = ["distributed"]\nmost_assumed_honest = {HONEST - 1}\n')
    grid.labels[0] = Label(home)
    history = train(grid, agreement, distributed(rounds=1)).history
    assert history.refusals == {"label-1": RefusalReason.TRUST}


def test_a_sum_beyond_what_honest_labels_can_make_aborts_the_round(grid, agreement, distributed, monkeypatch):
    add = local_round.add_noise
    lies = iter([True] + [False] * 100)

    def lying(rows, plan, randomness):
        honest = add(rows, plan, randomness)
        return honest + 2**30 if next(lies) else honest

    monkeypatch.setattr(local_round, "add_noise", lying)
    rounds = train(grid, agreement, distributed(rounds=2)).history.rounds
    assert rounds[0].aborted is not None
    assert "some label lied" in rounds[0].aborted
    assert rounds[1].aborted is None


def test_whole_labels_can_be_the_unit(grid, agreement, distributed, labels, sums):
    config = distributed(
        unit=Unit.LABEL, rounds=2, local_steps=3, batch_size=30, max_grad_norm=1.0, epsilon=50.0, delta=1e-3
    )
    for label in labels:
        label.home.policy_file.write_text(
            'trust = ["distributed"]\ndelta_max = 1e-3\nepsilon_per_run = 60.0\nepsilon_lifetime = 60.0\n'
        )
    grid.labels = [Label(label.home) for label in labels]
    outcome = train(grid, agreement, config)
    assert not any(record.aborted for record in outcome.history.rounds)
    with Ledger(labels[0].home.ledger_file) as ledger:
        (charged,) = (event for event in ledger.spent() if not isinstance(event, HeldOutCounts))
        assert (charged.steps, charged.sample_rate) == (2, 1.0)
        assert 0.9 * config.epsilon < ledger.epsilon(1e-3) <= config.epsilon


def test_units_take_turns_and_are_charged_for_all_of_them_at_once(grid, agreement, distributed, labels):
    config = distributed(rounds=6, banded=BandedFactorisation(3, (64, 32, 20)), epsilon=50.0)
    outcome = train(grid, agreement, config)
    assert not any(record.aborted for record in outcome.history.rounds)
    for label in labels:
        with Ledger(label.home.ledger_file) as ledger:
            charges = [row for row in ledger.rows() if row.kind == "charge"]
            assert [len(row.events) for row in charges] == [2, 0, 0, 0, 0, 0]
            assert 0.95 * config.epsilon < ledger.epsilon(config.delta) <= config.epsilon


def test_the_clip_follows_its_quantile(grid, agreement, distributed, monkeypatch):
    clips = []
    inputs = local_round.inputs_of

    def watched(*arguments):
        clips.append(inputs(*arguments).clip)
        return inputs(*arguments)

    monkeypatch.setattr(local_round, "inputs_of", watched)
    # From far above: nearly all gradients are within the clip, so it has to fall.
    train(
        grid,
        agreement,
        distributed(rounds=8, clip_quantile=0.5, max_grad_norm=50.0, epsilon=50.0, server_learning_rate=1e-3),
    )
    clips = clips[::LABELS]  # all labels found the same one
    assert clips[0] == 50.0
    assert clips[-1] < 50 * math.exp(-0.3 * 0.4 * 6)
    assert all(later < earlier for earlier, later in itertools.pairwise(clips))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"private": False}, "no noise to distribute"),
        ({"local_steps": 2}, "Expected local_steps=2 to be 1"),
        ({"unit": Unit.LABEL, "balance": Balance.LOSS}, "Expected balance=loss to be none"),
        ({"unit": Unit.LABEL, "sample_rate": 0.5}, "every label takes part in every round"),
        ({"banded": BandedFactorisation(3, (1,)), "balance": Balance.SAMPLING}, "Expected balance=sampling not"),
        ({"banded": BandedFactorisation(3, (1,)), "sample_rate": 0.5}, "Expected sample_rate=0.5 to be 1"),
        ({"banded": BandedFactorisation(3, (1,)), "clip_quantile": 0.5}, "Expected clip_quantile=0.5 to be unset"),
    ],
)
def test_combinations_without_a_proof_are_refused(distributed, changes, message):
    with pytest.raises(ConfigurationError, match=message):
        distributed(**changes)


def test_a_label_as_the_unit_needs_shared_noise(configured):
    with pytest.raises(ConfigurationError, match="needs distributed noise"):
        configured(unit=Unit.LABEL)


@pytest.mark.parametrize("min_honest", [0, 5])
def test_an_agreement_cannot_count_on_more_labels_than_survive(agreement, min_honest):
    with pytest.raises(ConfigurationError, match=f"min_honest = {min_honest}"):
        replace(agreement, min_honest=min_honest)


def test_local_noise_counts_on_nobody(agreement):
    with pytest.raises(ConfigurationError, match="min_honest = 3 applies to distributed noise"):
        replace(agreement, noise=Trust.LOCAL)


@pytest.mark.parametrize("kind", ["banded", "clip that follows"])
def test_a_coordinator_that_crashed_decodes_on_as_if_it_had_not(
    grid, agreement, distributed, monkeypatch, tmp_path, kind
):
    """What later sums hold of earlier ones, and the clip, are in the checkpoint of the run."""
    more = (
        {"banded": BandedFactorisation(4, (4, 2, 1)), "sample_rate": 1.0}
        if kind == "banded"
        else {"clip_quantile": 0.5}
    )
    config = distributed(rounds=4, epsilon=50.0, **more)
    announcement = Announcement.of(agreement, config)
    keeper = Keeper(tmp_path)

    class Crash(Exception):
        pass

    def crash(history):
        if len(history.rounds) == 3:  # after the third sum, before anything of it is kept
            raise Crash

    with pytest.raises(Crash):
        train(grid, agreement, config, announcement=announcement, keeper=keeper, on_change=crash)
    kept, started = keeper.load()
    assert started == 3
    assert len(kept.history.rounds) == 2
    outcome = train(grid, agreement, config, announcement=announcement, keeper=keeper, resume=True)
    assert [bool(record.aborted) for record in outcome.history.rounds] == [False, False, True, False]

    # One model that follows the same sums without a break ends in the same state.
    first = keeper.sums.first()
    known = {"run": announcement.run, "labels": LABELS, "trainable": trainable_mask(config)}
    whole = GlobalModel.start(config, **known, first=first)
    for number in range(1, 5):
        total = keeper.sums.sum_of(number)
        whole.follow(RoundSum.from_bytes(number, total, whole.ring, whole.coordinates))
    after, _ = keeper.load()
    assert after.model == whole.to_bytes()
    np.testing.assert_array_equal(outcome.parameters, whole.parameters)
    assert (whole.clip != config.max_grad_norm) == (kind != "banded")
