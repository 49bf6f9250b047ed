"""Finds tasks and families by name.

A task is a folder beside this file with a `task.py` that defines `TASK`; every other module of the folder is a family
with that name and defines `FAMILY`. Names are read from the folder, so listing them imports no torch, and a new family
is one new file.
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
        ConfigurationError: the task is unknown.
    """
    _expect("task", name, tasks())
    return cast(Task, importlib.import_module(f"{__package__}.{name}.{_TASK_MODULE}").TASK)


def family(task: str, name: str) -> Family:
    """The family of this name in a task.

    Raises:
        ConfigurationError: the task or the family is unknown.
    """
    _expect(f"family of the task '{task}'", name, families(task))
    return cast(Family, importlib.import_module(f"{__package__}.{task}.{name}").FAMILY)


def spec_of(task: str, name: str) -> FeatureSpec:
    """The feature spec of a family in a new run.

    Raises:
        ConfigurationError: the task or the family is unknown.
    """
    from sottovoce.features.extract import default_spec

    return default_spec(family(task, name).view)


def specs(task: str) -> tuple[FeatureSpec, ...]:
    """The feature specs of a task's families, without duplicates.

    Raises:
        ConfigurationError: the task is unknown.
    """
    return tuple(dict.fromkeys(spec_of(task, name) for name in families(task)))


def _expect(what: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise ConfigurationError(f"Unknown {what}: '{name}'.", hint=f"Known: {', '.join(known)}.")
