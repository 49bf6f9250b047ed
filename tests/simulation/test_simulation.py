"""Seeded histories of a whole federation under faults of network, disks, processes and clocks."""

import pytest
from tests.simulation.choices import Choices, shrunk
from tests.simulation.planted import PLANTED
from tests.simulation.simulation import QUIET, STORM, report, simulation

SCHEDULES = 100
"""Number of schedules; `make simulate-faults` plays more."""
BUDGET = 300
"""Number of schedules within which a planted fault must be found."""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    with simulation(tmp_path_factory.mktemp("simulation")) as federation:
        yield federation


def test_where_nothing_goes_wrong_each_run_is_published(federation):
    for seed in range(len(federation.states)):
        assert federation.play(seed, rates=QUIET).end in ("published", "published, published")


def test_no_schedule_violates_what_must_hold(federation):
    for seed in range(SCHEDULES):
        outcome = federation.play(seed)
        if outcome.violation:
            pytest.fail(report(federation.shrink(outcome)), pytrace=False)


def test_a_schedule_replays_from_its_seed(federation):
    first = federation.play(7, traced=True)
    again = federation.play(7, traced=True)
    assert first.made
    assert (first.made, first.end) == (again.made, again.end)
    assert len(first.trace) == len(again.trace) > 10


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.what)
def test_a_planted_fault_is_found(federation, planted, monkeypatch):
    planted.plant(monkeypatch)
    seeds = range(BUDGET)
    assert any(
        federation.play(seed, state=planted.state, rates=STORM if planted.state else None).violation for seed in seeds
    )


def test_what_led_to_a_violation_shrinks(federation, monkeypatch):
    planted = next(each for each in PLANTED if each.what == "a resumed run writes another release")
    planted.plant(monkeypatch)
    outcomes = (federation.play(seed, state="trained", rates=STORM) for seed in range(BUDGET))
    found = next(outcome for outcome in outcomes if outcome.violation)
    small = federation.shrink(found)
    assert small.violation
    assert 1 <= len(small.made) < len(found.made)
    assert all(site in report(small) for site in small.made)
    assert f"SEED={found.seed}" in report(small)


def test_sites_shrink_to_those_that_matter():
    assert shrunk([str(number) for number in range(50)], lambda kept: {"3", "41"} <= set(kept)) == ["3", "41"]
    assert shrunk(["1", "2"], lambda kept: True) == []


def test_a_decision_depends_on_seed_and_site_alone():
    one, other = Choices(5), Choices(5)
    other.happens("elsewhere", 3)
    assert [one.happens("here", 9, 0.5) for _ in range(20)] == [other.happens("here", 9, 0.5) for _ in range(20)]
    only = Choices(5, only=["here (2)"])
    assert [bool(only.happens("here", 9)) for _ in range(3)] == [False, True, False]
