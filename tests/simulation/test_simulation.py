"""Seeded histories of a whole federation under faults of network, disks, processes and clocks."""

import pytest
from tests.simulation.choices import Choices, shrunk
from tests.simulation.disk import digest_of
from tests.simulation.one_label import Courses
from tests.simulation.planted import PLANTED
from tests.simulation.simulation import BOTH, QUIET, STORM, report, simulation

SCHEDULES = 60
"""Number of schedules; `make simulate-faults` plays more."""
HISTORIES = 1500
"""Number of histories of one label."""
BUDGET = 300
"""Number of schedules, or of histories of one label, within which a planted fault must be found."""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    with simulation(tmp_path_factory.mktemp("simulation")) as federation:
        yield federation


@pytest.fixture(scope="module")
def courses(federation):
    return Courses.of(federation)


@pytest.fixture
def plant(federation, monkeypatch):
    yield lambda planted: (federation.forget_answers(), planted.plant(monkeypatch))
    federation.forget_answers()


def test_where_nothing_goes_wrong_each_run_is_published(federation):
    for seed, state in enumerate(federation.states):
        assert federation.play(seed, state=state, rates=QUIET).end in ("published", "published, published")


def test_no_schedule_violates_what_must_hold(federation):
    for seed in range(SCHEDULES):
        outcome = federation.play(seed)
        if outcome.violation:
            pytest.fail(report(federation.shrink(outcome)), pytrace=False)


def test_no_history_of_a_label_violates_what_must_hold(courses):
    for seed in range(HISTORIES):
        outcome = courses.play(seed)
        if outcome.violation:
            pytest.fail(report(courses.shrink(outcome)), pytrace=False)


def test_answers_that_are_known_are_those_that_the_real_code_gives(federation, courses):
    known = [(outcome.end, outcome.made) for outcome in map(courses.play, range(20))]
    federation.forget_answers()
    assert [(outcome.end, outcome.made) for outcome in map(courses.play, range(20))] == known
    assert all(digest_of(folder) == digest for digest, folder in federation.frozen().items())


@pytest.mark.parametrize("state", ["after the first round", BOTH])
def test_a_schedule_replays_from_its_seed_to_the_byte(federation, state):
    def play():
        outcome = federation.play(7, state=state, traced=True)
        effects = [line for line in outcome.trace if line.startswith("app")]  # with random names of temporary files
        return outcome.made, outcome.end, effects

    first = play()
    federation.forget_answers()
    assert play() == first
    assert play() == first
    assert len(first[2]) > 10


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.what)
def test_a_planted_fault_is_found(federation, courses, planted, plant):
    plant(planted)
    seeds = range(planted.seed, planted.seed + BUDGET)
    if planted.label:
        assert any(courses.play(seed).violation for seed in seeds)
    else:
        assert any(federation.play(seed, state=planted.state, rates=STORM).violation for seed in seeds)


def test_what_led_to_a_violation_shrinks(federation, plant):
    planted = next(each for each in PLANTED if each.what == "a run that was publishing is not resumed")
    plant(planted)
    outcomes = (federation.play(planted.seed + more, state="trained", rates=STORM) for more in range(BUDGET))
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
