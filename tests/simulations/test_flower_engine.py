"""The start of Flower's simulation engine."""

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from sottovoce_simulations.engine import flower_engine
from sottovoce_simulations.engine.flower_engine import EngineError

TOO_SLOW = Exception("The current node timed out during startup. This could happen because ...")


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What Ray's starts give, in order; an exception is raised."""
    outcomes: list[Any] = []

    def init(**_: Any) -> None:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome

    monkeypatch.setattr(flower_engine.ray, "init", init)
    monkeypatch.setattr(flower_engine.ray, "shutdown", lambda: None)
    return outcomes


def test_where_ray_gives_up_on_a_busy_machine_it_is_started_again(starts: list[Any]) -> None:
    starts += [TOO_SLOW, TOO_SLOW, None, "not started a fourth time"]
    flower_engine._start_ray(1)
    assert starts == ["not started a fourth time"]


@pytest.mark.parametrize("before", [None, "/elsewhere"])
def test_rays_processes_inherit_where_to_import_from(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given by Ray's own means, it would make Ray start each process twice."""
    seen: list[Any] = []

    def init(**options: Any) -> None:
        seen.append((os.environ["PYTHONPATH"].split(os.pathsep), options.get("runtime_env")))

    monkeypatch.delenv("PYTHONPATH", raising=False)
    if before:
        monkeypatch.setenv("PYTHONPATH", before)
    monkeypatch.setattr(flower_engine.ray, "init", init)
    flower_engine._start_ray(1)
    assert seen == [([*sys.path, *filter(None, [before])], None)]
    assert os.environ.get("PYTHONPATH") == before


def test_a_start_that_fails_otherwise_or_always_is_an_error(starts: list[Any]) -> None:
    starts += [ValueError("no such core"), "not started again"]
    with pytest.raises(EngineError, match="no such core"):
        flower_engine._start_ray(1)
    assert starts.pop() == "not started again"
    starts += [TOO_SLOW] * flower_engine.RAY_STARTS
    with pytest.raises(EngineError, match="timed out during startup"):
        flower_engine._start_ray(1)
    assert starts == []
