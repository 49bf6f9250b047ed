from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from sottovoce.errors import ConfigurationError, Diverged, PrivacyError
from sottovoce.models import discovery
from sottovoce.models.parameters import chosen, initial, model_of, shapes_of
from sottovoce.models.style.task import PAIR
from sottovoce.privacy.calibration import plan_for
from sottovoce.privacy.distributed_gaussian import DistributedDiscreteGaussian
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import Balance, DistributedNoise, Unit
from sottovoce_client.data.dataset import Sample, TrackDataset
from sottovoce_client.training import unit_gradients
from sottovoce_client.training.distributed_noise import clipped_sum
from sottovoce_client.training.dp_sgd import train
from sottovoce_client.training.evaluation import measure
from sottovoce_client.training.round_inputs import RoundInputs
from sottovoce_client.training.unit_gradients import UnitGradients

CLASSES = 3
LAST = [2, 1, 2, 2, 1]  # segments of each track; those of the last unit follow
HISTOGRAM = np.array([2.0, 2.0, 1.0])


def sim(seed=3):
    return Randomness.for_simulation(seed)


def start(family, spec, seed=0):
    """Random parameters everywhere, so that every layer has a gradient."""
    size = initial(family, spec, CLASSES, seed=0).size
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32) / 4


@pytest.mark.parametrize("unit", [Unit.TRACK, Unit.ARTIST])
@pytest.mark.parametrize("balance", [Balance.NONE, Balance.LOSS])
def test_one_unit_moves_a_step_by_at_most_the_clip(unaugmented, spec, dataset_of, config_of, plan_of, unit, balance):
    family = unaugmented
    config = config_of(family, unit=unit, balance=balance)
    plan = plan_of(config, histogram_noise=1.0)
    lengths, scale = [*LAST, 2, 1, 2], [1.0] * 5 + [1e3] * 3
    units = [f"artist {index}" for index in range(5)] + ["loud"] * 3 if unit is Unit.ARTIST else None
    count = len(lengths) if unit is Unit.ARTIST else 6
    whole = dataset_of(family, lengths[:count], units=units, scale=scale[:count])
    without = dataset_of(family, lengths[:5], units=units and units[:5])
    vector = start(family, spec)
    one, other = (train(RoundInputs(family, vector, data, config, plan, sim(), HISTOGRAM)) for data in (whole, without))
    bound = config.learning_rate * config.max_grad_norm / config.batch_size
    moved = float(np.linalg.norm(one.astype(np.float64) - other))
    assert 0.5 * bound < moved <= bound * (1 + 1e-3)


def test_without_privacy_one_unit_can_move_a_step_further(unaugmented, spec, dataset_of, config_of):
    """The check above can fail."""
    family = unaugmented
    config = config_of(family, private=False)
    whole = dataset_of(family, [*LAST, 2], scale=[1.0] * 5 + [1e3])
    without = dataset_of(family, LAST)
    one, other = (
        train(RoundInputs(family, start(family, spec), data, config, None, sim())) for data in (whole, without)
    )
    assert np.linalg.norm(one - other) > config.learning_rate * config.max_grad_norm / config.batch_size


@pytest.mark.parametrize("rate", [1.0, 1e-12], ids=["full batch", "empty batch"])
def test_a_step_has_the_claimed_noise(unaugmented, spec, dataset_of, config_of, plan_of, rate):
    """Accepted at its scale, rejected at 2/3 and 3/2 of it."""
    family = unaugmented
    config = config_of(family)
    dataset, vector = dataset_of(family, LAST), start(family, spec)
    noisy, plain = (
        train(
            RoundInputs(family, vector, dataset, config, plan_of(config, noise_multiplier=noise, base_rate=rate), sim())
        )
        for noise in (40.0, 1e-9)
    )
    noise = (noisy - plain) * config.batch_size / config.learning_rate
    std = 40.0 * config.max_grad_norm
    assert stats.kstest(noise, "norm", (0, std)).pvalue > 1e-3
    for wrong in (2 / 3, 3 / 2):
        assert stats.kstest(noise, "norm", (0, std * wrong)).pvalue < 1e-6


def test_an_empty_batch_is_a_step_of_noise_alone(family, spec, dataset_of, config_of, plan_of):
    config = config_of(family)
    plan = plan_of(config, noise_multiplier=1.0, base_rate=1e-12)
    vector = start(family, spec)
    one = train(RoundInputs(family, vector, dataset_of(family, LAST, seed=1), config, plan, sim()))
    other = train(RoundInputs(family, vector, dataset_of(family, LAST, seed=2), config, plan, sim()))
    assert one.any()
    assert np.array_equal(one, other)


def test_a_batch_in_parts_is_the_same_batch(unaugmented, spec, dataset_of, config_of, plan_of, monkeypatch):
    family = unaugmented
    config = config_of(family, local_steps=2)
    plan = plan_of(config, noise_multiplier=0.5)
    dataset, vector = dataset_of(family, LAST), start(family, spec)
    whole = train(RoundInputs(family, vector, dataset, config, plan, sim()))
    monkeypatch.setattr(unit_gradients, "MEMORY", 4 * 2 * vector.size * config.segments_per_track)
    assert np.allclose(train(RoundInputs(family, vector, dataset, config, plan, sim())), whole, atol=1e-5)


def test_the_sum_is_divided_by_the_configured_batch(unaugmented, spec, dataset_of, config_of, plan_of):
    """However many units a label has: their number is private."""
    family = unaugmented
    vector, dataset = start(family, spec), dataset_of(family, LAST)
    small, large = (
        train(RoundInputs(family, vector, dataset, config, plan_of(config), sim()))
        for config in (config_of(family, batch_size=8), config_of(family, batch_size=80))
    )
    assert np.allclose(small, 10 * large, atol=1e-5)


def test_a_step_knows_nothing_of_the_gradient_before(unaugmented, spec, dataset_of, config_of):
    """Without privacy and momentum, two steps on the same full batch are one step and another."""
    family, dataset = unaugmented, dataset_of(unaugmented, [1] * 5)
    config = config_of(family, private=False, momentum=0.0, batch_size=5, local_steps=1)
    vector = start(family, spec)
    first = train(RoundInputs(family, vector, dataset, config, None, sim()))
    second = train(RoundInputs(family, vector + first, dataset, config, None, sim()))
    both = train(RoundInputs(family, vector, dataset, config.changed(local_steps=2), None, sim()))
    assert np.linalg.norm(both - (first + second)) < 1e-4 * np.linalg.norm(second)


def test_a_simulation_can_be_repeated_and_a_real_run_cannot(family, spec, dataset_of, config_of):
    config = config_of(family)
    plan, dataset, vector = plan_for(config, 5), dataset_of(family, LAST), start(family, spec)
    seeded = [train(RoundInputs(family, vector, dataset, config, plan, sim(seed))) for seed in (3, 3, 4)]
    assert np.array_equal(seeded[0], seeded[1])
    assert not np.array_equal(seeded[0], seeded[2])
    real = [train(RoundInputs(family, vector, dataset, config, plan, Randomness.system())) for _ in range(2)]
    assert not np.array_equal(*real)


def test_the_global_parameters_are_left_alone(family, spec, dataset_of, config_of):
    vector = start(family, spec)
    before = vector.copy()
    vector.flags.writeable = False
    train(RoundInputs(family, vector, dataset_of(family, LAST), config_of(family, private=False), None, sim()))
    assert np.array_equal(vector, before)


@pytest.fixture
def last(family, spec):
    """The model's last parameter, by name, and where it stands in the flat vector."""
    names = tuple(shapes_of(family, spec, CLASSES))[-1:]
    return names, chosen(shapes_of(family, spec, CLASSES), names)


def test_a_run_moves_what_it_trains_and_the_clip_is_of_that_alone(
    unaugmented, last, spec, dataset_of, config_of, plan_of
):
    family, (names, moved), vector = unaugmented, last, start(unaugmented, spec)
    dataset, loose = dataset_of(family, LAST), config_of(family, max_grad_norm=1e3)
    whole = train(RoundInputs(family, vector, dataset, loose, plan_of(loose), sim()))
    part = loose.changed(trainable=names)
    assert np.allclose(train(RoundInputs(family, vector, dataset, part, plan_of(part), sim())), whole[moved], atol=1e-5)
    tight = config_of(family, max_grad_norm=1e-4, trainable=names)
    step = train(RoundInputs(family, vector, dataset_of(family, [2]), tight, plan_of(tight), sim()))
    one = np.linalg.norm(step) * tight.batch_size / tight.learning_rate
    assert one == pytest.approx(tight.max_grad_norm, rel=1e-2)


def test_with_shared_noise_what_is_trained_alone_is_summed(unaugmented, last, spec, dataset_of, config_of, plan_of):
    family, (names, moved), vector = unaugmented, last, start(unaugmented, spec)
    config = config_of(family, trainable=names, distributed=DistributedNoise(3, 1.0, 1.0))
    mechanism = DistributedDiscreteGaussian.of(config, int(moved.sum()), 5)
    plan, local = plan_for(config, len(LAST), mechanism=mechanism), config.changed(distributed=None)
    signs, dataset = mechanism.signs(bytes(16), 1), dataset_of(family, LAST)
    total = clipped_sum(
        RoundInputs(family, vector, dataset, config, plan, sim(), number=1, clip=config.max_grad_norm), signs
    )
    found = mechanism.vector(total.astype(np.float64), signs) * config.max_grad_norm
    wanted = (
        train(RoundInputs(family, vector, dataset, local, plan_of(local), sim()))
        * -config.batch_size
        / config.learning_rate
    )
    assert found.shape == wanted.shape == (moved.sum(),)
    assert np.linalg.norm(found - wanted) < 0.02 * np.linalg.norm(wanted)


@pytest.mark.parametrize("unit", [Unit.TRACK, Unit.LABEL])
def test_with_shared_noise_a_labels_sum_is_cut_before_it_can_wrap_the_ring(family, spec, dataset_of, config_of, unit):
    config = config_of(family, unit=unit, distributed=DistributedNoise(3, 1.0, 1.0, 0.5))
    vector, dataset = start(family, spec), dataset_of(family, LAST)
    mechanism = DistributedDiscreteGaussian.of(config, vector.size, 5)
    sums = []
    for bound in (mechanism.sum_bound, 3):
        plan = plan_for(config, 5, mechanism=replace(mechanism, sum_bound=bound))
        sums.append(
            clipped_sum(RoundInputs(family, vector, dataset, config, plan, sim()), mechanism.signs(bytes(16), 1))
        )
    whole, cut = sums
    assert np.abs(whole).max() > 3  # the count of clipped units, the last number, is cut like all others
    assert abs(whole[-1]) > 3
    assert np.array_equal(cut, np.clip(whole, -3, 3))


@pytest.mark.parametrize("some", [False, True])
def test_a_whole_label_whose_training_diverges_adds_nothing_and_fails_not(
    family, last, spec, dataset_of, config_of, some
):
    """Otherwise an answer, or none, would tell what is in the catalogue, without any noise."""
    names, moved = last if some else ((), np.ones_like(last[1]))
    config = config_of(family, trainable=names, unit=Unit.LABEL, distributed=DistributedNoise(3, 1.0, 1.0))
    mechanism = DistributedDiscreteGaussian.of(config, int(moved.sum()), 5)
    plan, signs, vector = plan_for(config, 5, mechanism=mechanism), mechanism.signs(bytes(16), 1), start(family, spec)
    for broken in (1.0, np.nan):
        dataset = dataset_of(family, LAST, scale=[1, 1, broken, 1, 1])
        total = clipped_sum(
            RoundInputs(family, vector, dataset, config, plan, sim(), number=1, clip=config.max_grad_norm), signs
        )
        assert total.shape == (moved.sum(),)
        assert total.any() == np.isfinite(broken)


def test_names_that_begin_no_parameter_are_refused(family, spec):
    with pytest.raises(ConfigurationError, match="starts with 'nothing'"):
        chosen(shapes_of(family, spec, CLASSES), ("nothing",))


def test_a_toy_problem_is_learnt(family, spec, shape_of, config_of):
    rng = np.random.default_rng(0)
    patterns = rng.standard_normal((CLASSES, *shape_of(family)))
    tracks = [
        Sample((patterns[i % CLASSES] + rng.standard_normal((2, *shape_of(family)))).astype(np.float32), i % CLASSES)
        for i in range(90)
    ]
    learn, unseen = TrackDataset.build(tracks[:60], spec), TrackDataset.build(tracks[60:], spec)
    config = config_of(family, private=False, local_steps=40, batch_size=20, learning_rate=0.2, momentum=0.9)
    vector = initial(family, spec, CLASSES, seed=0)
    vector = vector + train(RoundInputs(family, vector, learn, config, None, sim()))
    counted = measure(family, vector, unseen, config)
    confusion = counted[2:-1].reshape(CLASSES, CLASSES) // PAIR
    assert confusion.sum() == len(unseen)
    assert np.trace(confusion) / confusion.sum() > 0.8


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_unit_that_overflows_counts_as_nothing(family, spec, dataset_of, config_of, plan_of, bad, monkeypatch):
    """Whether a round fails must not tell what is in it: a coordinator could build a model that one track breaks."""
    # Augmentation draws otherwise for another number of rows.
    monkeypatch.setattr(type(family), "augment", lambda self, features, generator: features)
    config = config_of(family)
    parameters = start(family, spec)

    def total(scale: list[float], chosen: list[int]) -> torch.Tensor:
        dataset = dataset_of(family, (2, 3, 1, 2), scale=scale)
        model = model_of(family, spec, CLASSES, parameters)
        batch = dataset.batch(np.array(chosen), 3, sim())
        weights = torch.ones(len(chosen), dtype=torch.float64)
        return UnitGradients(family, model, plan_of(config).max_grad_norm).sum(batch, weights, torch.Generator())

    whole, broken = total([1, 1, 1, 1], [0, 1, 3]), total([1, 1, bad, 1], [0, 1, 3, 2])
    assert torch.isfinite(broken).all()
    torch.testing.assert_close(whole, broken)
    assert np.isfinite(
        train(
            RoundInputs(
                family, parameters, dataset_of(family, LAST, scale=[1, 1, bad, 1, 1]), config, plan_of(config), sim()
            )
        )
    ).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_broken_features_stop_a_run_without_privacy(family, spec, dataset_of, config_of, bad):
    config = config_of(family, private=False)
    with pytest.raises(Diverged):
        train(
            RoundInputs(
                family, start(family, spec), dataset_of(family, LAST, scale=[1, 1, bad, 1, 1]), config, None, sim()
            )
        )


def test_runaway_parameters_leave_nothing(dataset_of, config_of, spec):
    svm = discovery.family("style", "svm")
    config = config_of(svm, private=False, learning_rate=3e38, batch_size=1, momentum=0.99, local_steps=50)
    with pytest.raises(Diverged, match="parameters"):
        train(RoundInputs(svm, start(svm, spec), dataset_of(svm, LAST), config, None, sim()))


def test_nothing_is_trained_beyond_the_plan(dataset_of, config_of, plan_of, spec):
    svm = discovery.family("style", "svm")
    config, dataset, vector = config_of(svm), dataset_of(svm, LAST), start(svm, spec)
    plan = plan_of(config)
    for changed, given, message in [
        (config, None, "needs a privacy plan"),
        (config.changed(private=False), plan, "without privacy must not"),
        (config.changed(max_grad_norm=9.0), plan, "another run"),
        (config.changed(unit=Unit.ARTIST), plan, "another run"),
        (config.changed(local_steps=3), plan, "more steps"),
    ]:
        with pytest.raises(PrivacyError, match=message):
            train(RoundInputs(svm, vector, dataset, changed, given, sim()))
    with pytest.raises(ConfigurationError, match="do not match the run's"):
        train(RoundInputs(svm, vector, dataset, config.changed(feature_spec="00"), plan, sim()))
