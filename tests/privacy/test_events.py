import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.errors import UnknownPrivacyEvent
from sottovoce.privacy.events import (
    DiscreteGaussianSum,
    Gaussian,
    HeldOutCounts,
    NonPrivate,
    PoissonGaussian,
    from_json,
    merged,
    remaining,
    to_json,
    within,
)

RATES = st.floats(0, 1, exclude_min=True)
NOISES = st.floats(1e-3, 1e3)
TIMES = st.integers(1, 10**6)
EVENTS = st.one_of(
    st.builds(PoissonGaussian, RATES, NOISES, TIMES),
    st.builds(Gaussian, NOISES, TIMES),
    st.builds(DiscreteGaussianSum, RATES, NOISES, TIMES, TIMES, TIMES, TIMES),
    st.builds(HeldOutCounts, NOISES, TIMES, TIMES, TIMES, TIMES),
    st.just(NonPrivate()),
)


SUM = DiscreteGaussianSum(0.5, 400.0, 9, 3, 10, 5)
WHOLE = ("norm_squared", "honest", "dimension", "steps")


@given(EVENTS)
def test_json_reads_back_to_the_same_event(event):
    assert from_json(json.loads(json.dumps(to_json(event)))) == event


def test_whole_numbers_are_the_same_event_as_floats():
    assert from_json(to_json(Gaussian(3, 1))) == Gaussian(3.0, 1)
    assert from_json(to_json(PoissonGaussian(1, 2, 5))) == PoissonGaussian(1.0, 2.0, 5)
    assert from_json(to_json(HeldOutCounts(400, 9, 3, 10, 5))) == HeldOutCounts(400.0, 9, 3, 10, 5)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "gaussian",
        {},
        {"kind": "laplace", "noise_multiplier": 1.0},
        {"kind": "gaussian"},
        {"kind": "gaussian", "noise_multiplier": 1.0},
        {"kind": "gaussian", "noise_multiplier": 1.0, "count": 1, "more": 1},
        {"kind": "gaussian", "noise_multiplier": 1, "count": 1},
        {"kind": "gaussian", "noise_multiplier": "1.0", "count": 1},
        {"kind": "gaussian", "noise_multiplier": 1.0, "count": True},
        {"kind": "gaussian", "noise_multiplier": 1.0, "count": 0},
        {"kind": "gaussian", "noise_multiplier": 0.0, "count": 1},
        {"kind": "gaussian", "noise_multiplier": math.inf, "count": 1},
        {"kind": "gaussian", "noise_multiplier": math.nan, "count": 1},
        {"kind": "poisson-gaussian", "sample_rate": 0.0, "noise_multiplier": 1.0, "steps": 1},
        {"kind": "poisson-gaussian", "sample_rate": 1.5, "noise_multiplier": 1.0, "steps": 1},
        {"kind": "non-private", "epsilon": 1.0},
        *({**to_json(SUM), name: value} for name in WHOLE for value in (0, True, 1.0)),
        *({**to_json(HeldOutCounts(400.0, 9, 3, 10, 5)), "count": value} for value in (0, True, 1.0)),
        *({**to_json(SUM), "variance": value} for value in (0.0, -1.0, math.inf, math.nan, 1)),
        *({**to_json(SUM), "sample_rate": value} for value in (0.0, 1.5)),
        *({**to_json(HeldOutCounts(400.0, 9, 3, 10, 5)), name: 0} for name in ("norm_squared", "honest", "count")),
        {**to_json(HeldOutCounts(400.0, 9, 3, 10, 5)), "variance": 0.0},
    ],
)
def test_anything_else_is_unknown(value):
    with pytest.raises(UnknownPrivacyEvent):
        from_json(value)


@given(st.lists(EVENTS, max_size=6), st.randoms())
def test_merging_forgets_order_and_grouping_only(events, random):
    shuffled = random.sample(events, len(events))
    assert merged(shuffled) == merged(events)
    assert merged(merged(events)) == merged(events)
    assert within(events, events)
    assert within(events, merged(events))


def test_equal_mechanisms_are_added_up():
    step = PoissonGaussian(0.1, 1.0, 5)
    assert merged([step, Gaussian(2.0), step]) == (Gaussian(2.0), PoissonGaussian(0.1, 1.0, 10))
    assert merged([NonPrivate(), NonPrivate()]) == (NonPrivate(),)


def test_what_was_not_planned_is_not_within():
    plan = (Gaussian(2.0), PoissonGaussian(0.1, 1.0, 10))
    assert within([], plan)
    assert within([PoissonGaussian(0.1, 1.0, 4), PoissonGaussian(0.1, 1.0, 6)], plan)
    assert not within([PoissonGaussian(0.1, 1.0, 11)], plan)
    assert not within([PoissonGaussian(0.1, 0.9, 1)], plan)
    assert not within([PoissonGaussian(0.2, 1.0, 1)], plan)
    assert not within([Gaussian(2.0), Gaussian(2.0)], plan)
    assert not within([NonPrivate()], plan)
    assert within([NonPrivate(), NonPrivate()], [NonPrivate()])


def test_the_smallest_and_largest_values_are_events():
    assert from_json(to_json(DiscreteGaussianSum(1.0, 0.5, 1, 1, 1, 1))) == DiscreteGaussianSum(1.0, 0.5, 1, 1, 1, 1)
    assert from_json(to_json(PoissonGaussian(1.0, 0.5, 1))).sample_rate == 1
    assert DiscreteGaussianSum(1.0, 400.0, 100, 4, 1, 1).noise_multiplier == 4.0


def test_what_remains_of_a_plan_is_what_was_not_spent():
    plan = (Gaussian(2.0), PoissonGaussian(0.1, 1.0, 10), SUM)
    assert remaining(plan, []) == merged(plan)
    assert remaining(plan, [SUM, Gaussian(2.0), PoissonGaussian(0.1, 1.0, 4)]) == (PoissonGaussian(0.1, 1.0, 6),)
    assert remaining(plan, [*plan, PoissonGaussian(0.2, 1.0, 4)]) == ()
    assert remaining((NonPrivate(),), ()) == (NonPrivate(),)
    assert remaining((NonPrivate(),), (NonPrivate(), NonPrivate())) == ()
