"""The coordinator's runs, as `sottovoce server runs` lists them."""

from typing import Any

from sottovoce.errors import ConfigurationError, OtherVersion, SottovoceError
from sottovoce_server.home.coordinator_home import ServerHome
from sottovoce_server.home.runs import BROKE_OFF, SUBMITTED, UNREADABLE, RunFolder


def listed_runs(home: ServerHome) -> list[dict[str, Any]]:
    """Every run, newest first: `run`, `task`, `family`, `rounds`, `done`, `state` and the latest `figures`, if any.

    A run with a damaged folder is listed as `unreadable`, with "?" for its model. A submitted run that is unknown to
    the SuperLink has broken off.
    """
    folders = RunFolder.all(home)
    lost = _lost(home) if any(folder.state == SUBMITTED for folder in folders) else frozenset()
    return [_listed(folder, lost) for folder in folders]


def _listed(folder: RunFolder, lost: frozenset[str]) -> dict[str, Any]:
    state = BROKE_OFF if folder.state == SUBMITTED and folder.run in lost else folder.state
    history = folder.progress().get("history", {})
    metrics = history.get("metrics", {})
    unknown = {"run": folder.run, "task": "?", "family": "?", "rounds": 0, "done": 0, "figures": None}
    try:
        config = folder.order().announcement.config
    except OtherVersion:
        return {**unknown, "done": len(history.get("rounds", [])), "state": f"{state}, by another version"}
    except ConfigurationError:
        return {**unknown, "state": UNREADABLE}
    return {
        "run": folder.run,
        "task": config.task,
        "family": config.family,
        "rounds": config.rounds,
        "done": len(history.get("rounds", [])),
        "state": state,
        "figures": metrics[max(metrics, key=int)] if metrics else None,
    }


def _lost(home: ServerHome) -> frozenset[str]:
    """Runs that the SuperLink no longer has; empty if it does not respond."""
    from sottovoce_server.flower.control import connected

    try:
        with connected(home) as control:
            under_way = {run.name for run in control.runs() if not run.over}
    except SottovoceError:
        return frozenset()
    return frozenset(folder.run for folder in RunFolder.all(home) if folder.run not in under_way)
