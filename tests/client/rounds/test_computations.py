"""What a label computes for a run: the plan, the layout, the update and the counters, from values alone."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sottovoce.errors import CatalogueError, PrivacyError
from sottovoce.federation.refusals import RefusalReason
from sottovoce.models import discovery
from sottovoce.models.trainable import trainable_mask
from sottovoce.protocol.messages import Kind
from sottovoce.protocol.violations import WrongVector
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import Balance, DistributedNoise, Unit
from sottovoce_client.home.policy import Policy
from sottovoce_client.rounds import local_round

POLICY = Policy(declared_tracks=60, declared_artists=30)


@pytest.fixture
def run(course_of):
    """Configuration and agreement of a kind of course."""
    return lambda kind: (course_of(kind).config, course_of(kind).agreement)


def objection(run, kind="local", policy=POLICY, **changes):
    config, agreement = run(kind)
    return local_round.objection(config.changed(**changes), agreement, policy)


def test_a_run_that_policy_and_agreement_allow_meets_no_objection(run):
    assert objection(run) is None
    assert objection(run, "distributed", replace(POLICY, trust=frozenset({"distributed"}))) is None
    allowing = replace(POLICY, allow_non_private=True)
    assert objection(run, "without privacy", allowing) is None
    # Nobody adds noise in a run without privacy, so that it does not matter which kind was agreed on.
    config, agreement = run("without privacy")[0], run("distributed")[1]
    assert local_round.objection(config, agreement, allowing) is None


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("local", {"family": "transformer"}, RefusalReason.FAMILY),
        ("local", {"feature_spec": "1" * 64}, RefusalReason.CONFIGURATION),
        ("local", {"trainable": ("nothing of this name",)}, RefusalReason.CONFIGURATION),
        ("distributed", {"task": "generator", "family": "gan"}, RefusalReason.CONFIGURATION),
        ("local", {"rounds": 1001}, RefusalReason.ROUNDS),
    ],
)
def test_a_run_that_cannot_be_computed_or_is_forbidden_is_refused(run, kind, changes, reason):
    assert objection(run, kind, **changes) is reason


def test_a_family_that_cannot_add_distributed_noise_may_train_with_local_noise(run):
    allowing = replace(POLICY, tasks=frozenset({"generator"}), families=frozenset({"gan"}))
    config, agreement = run("local")
    gan = config.changed(
        task="generator", family="gan", feature_spec=discovery.spec_of("generator", "gan").digest, balance=Balance.NONE
    )
    assert local_round.objection(gan, agreement, allowing) is RefusalReason.PURPOSE
    noise = run("distributed")[0].distributed
    distributed = gan.changed(distributed=noise)
    assert local_round.objection(distributed, run("distributed")[1], allowing) is RefusalReason.CONFIGURATION


def test_noise_that_was_not_agreed_on_is_refused(run):
    config, agreement = run("local")[0], run("distributed")[1]
    assert local_round.objection(config, agreement, POLICY) is RefusalReason.AGREEMENT


def test_a_model_larger_than_the_policy_allows_is_refused(run):
    parameters = trainable_mask(run("local")[0]).size
    assert objection(run, policy=replace(POLICY, largest_model=parameters)) is None
    assert objection(run, policy=replace(POLICY, largest_model=parameters - 1)) is RefusalReason.MODEL_SIZE


def test_a_label_that_declares_too_few_artists_does_not_protect_artists(run):
    config, agreement = run("local")
    few = replace(POLICY, declared_artists=9)
    assert local_round.plan_of(config, agreement, few).unit is Unit.TRACK
    with pytest.raises(CatalogueError, match="declares 9") as caught:
        local_round.plan_of(config.changed(unit=Unit.ARTIST), agreement, few)
    assert "--declare" in caught.value.hint


def test_a_plan_keeps_the_policys_delta_and_one_that_all_labels_together_may_have(run):
    config, agreement = run("local")
    assert local_round.plan_of(config, agreement, replace(POLICY, delta_max=1e-6)).delta == 1e-6
    labels = run("distributed")[0].changed(
        unit=Unit.LABEL,
        delta=0.3,  # one of four labels could be published outright
        distributed=DistributedNoise(min_honest=2, noise_multiplier=20.0, sample_rate=1.0),
    )
    with pytest.raises(PrivacyError, match="4 units"):
        local_round.plan_of(labels, run("distributed")[1], replace(POLICY, delta_max=0.3))


@pytest.mark.parametrize("kind", ["local", "distributed", "banded"])
@pytest.mark.parametrize("asked", [Kind.TRAIN, Kind.EVALUATE])
def test_only_a_vector_that_holds_the_update_the_clips_count_and_the_counters_is_filled(course_of, kind, asked):
    course = course_of(kind)
    name = "train 1" if asked is Kind.TRAIN else "evaluate 3"
    request = course.moments[name].message
    layout = local_round.layout_of(request, course.config)
    assert layout.elements == request.elements
    assert layout.parameters == (course.model.coordinates if asked is Kind.TRAIN else 0)
    for elements in (request.elements - 1, request.elements + 1):
        with pytest.raises(WrongVector, match=f"asks for {elements}"):
            local_round.layout_of(replace(request, elements=elements), course.config)


def inputs(course, state, number, prepared):
    request = SimpleNamespace(round=number)
    model = course.model
    return local_round.inputs_of(state, request, model, prepared, Randomness.for_simulation(3))


@pytest.mark.parametrize("kind", ["local", "distributed", "banded", "without privacy"])
def test_an_update_is_made_of_the_kind_of_noise_that_the_run_has(at, kind, prepared):
    here = at("train 1", kind)
    state = here.state()
    state.histogram = [20.0, 10.0]
    given = inputs(here.course, state, 1, prepared)
    update = local_round.update_of(state, here.run, given)
    grid = kind in ("distributed", "banded")
    assert update.dtype == (np.int64 if grid else np.float32)
    assert update.size == here.course.model.coordinates
    assert sorted(state.sums) == ([1] if grid else [])  # before noise, for the rounds that add it again
    if grid:
        assert (state.sums[1] != update).any()


def test_inputs_carry_the_runs_class_counts_if_it_has_any(at, prepared):
    here = at("train 2")
    state = here.state()
    assert inputs(here.course, state, 2, prepared).histogram.tolist() == state.histogram
    state.histogram = None
    assert inputs(here.course, state, 2, prepared).histogram is None


def test_class_counts_are_noised_by_the_plan_and_exact_without_one(at, prepared):
    plan, exact = at("train 1").state().plan, [20.0, 10.0, 0.0]
    randomness = Randomness.for_simulation(1)
    assert local_round.histogram_of(prepared.train, 3, None, randomness) == exact
    assert local_round.histogram_of(prepared.train, 3, replace(plan, histogram_noise=None), randomness) == exact
    noised = np.array([local_round.histogram_of(prepared.train, 3, plan, randomness) for _ in range(200)])
    assert np.abs(noised.mean(axis=0) - exact).max() < plan.histogram_noise
    assert abs(noised.std() / np.hypot(plan.histogram_noise, np.std(exact)) - 1) < 0.2
