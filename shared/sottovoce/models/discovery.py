"""Finds tasks and families by name.

A task is a folder beside this file with a `task.py` that holds `TASK`; every other module of the folder is a family
of that name and holds `FAMILY`. The names are read off the folder, so that listing them imports no torch and a new
family is one new file.
"""

import importlib
import pkgutil
from functools import cache
from pathlib import Path
from typing import cast

from sottovoce.errors import ConfigurationError
from sottovoce.features.spec import FeatureSpec
from sottovoce.models.interfaces import Family, Task

_FOLDER = Path(__file__).parent
_TASK_MODULE = "task"


@cache
def tasks() -> tuple[str, ...]:
    """Names of all tasks, sorted."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules([str(_FOLDER)]) if found.ispkg))


@cache
def families(task: str) -> tuple[str, ...]:
    """Names of a task's families, sorted.

    Raises:
        ConfigurationError: there is no such task.
    """
    _expect("task", task, tasks())
    found = (module.name for module in pkgutil.iter_modules([str(_FOLDER / task)]))
    return tuple(sorted(name for name in found if name != _TASK_MODULE and not name.startswith("_")))


def task(name: str) -> Task:
    """The task of this name.

    Raises:
        ConfigurationError: there is none.
    """
    _expect("task", name, tasks())
    return cast(Task, importlib.import_module(f"{__package__}.{name}.{_TASK_MODULE}").TASK)


def family(task: str, name: str) -> Family:
    """The family of this name in a task.

    Raises:
        ConfigurationError: there is no such task, or no such family in it.
    """
    _expect(f"family of the task '{task}'", name, families(task))
    return cast(Family, importlib.import_module(f"{__package__}.{task}.{name}").FAMILY)


def spec_of(task: str, name: str) -> FeatureSpec:
    """The spec that a family's features are computed by in a new run.

    Raises:
        ConfigurationError: there is no such task, or no such family in it.
    """
    from sottovoce.features.extract import default_spec

    return default_spec(family(task, name).view)


def specs(task: str) -> tuple[FeatureSpec, ...]:
    """The specs that a task's families see features by, each once.

    Raises:
        ConfigurationError: there is no such task.
    """
    return tuple(dict.fromkeys(spec_of(task, name) for name in families(task)))


def _expect(what: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise ConfigurationError(f"There is no {what} called '{name}'.", hint=f"Known: {', '.join(known)}.")
