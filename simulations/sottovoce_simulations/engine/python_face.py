"""`sottovoce.simulate`: a simulation from Python. `sottovoce.api` finds it by its entry point."""

import difflib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from sottovoce.api import Simulation
from sottovoce.errors import ConfigurationError
from sottovoce.run.configuration import Balance, Trust, Unit
from sottovoce_simulations.engine.experiment import Experiment
from sottovoce_simulations.engine.partition import Scheme
from sottovoce_simulations.engine.simulation import results_folder
from sottovoce_simulations.engine.simulation import simulate as run

KINDS = {"noise": Trust, "unit": Unit, "balance": Balance, "scheme": Scheme.parse}
"""Conversion of options given as text."""
PARTITION = "partition"


def simulate(catalogues: Path, out: Path | None, options: Mapping[str, Any]) -> Simulation:
    """Run an experiment and return its results; arguments and errors are those of `sottovoce.simulate`."""
    given = dict(options)
    cpus = given.pop("cpus", None)
    given.setdefault("scheme", given.pop(PARTITION, Scheme.default(given.get("clients"))))
    known = {field.name for field in fields(Experiment)}
    for name in sorted(given.keys() - known):
        close = difflib.get_close_matches(name, [*known, PARTITION, "cpus"], 1)
        raise ConfigurationError(f"Unknown option '{name}'.", hint=f"Did you mean '{close[0]}'?" if close else None)
    values: dict[str, Any] = {
        name: KINDS[name](value) if isinstance(value, str) and name in KINDS else value for name, value in given.items()
    }
    experiment = Experiment(catalogues=catalogues, **values)
    folder = out or results_folder(experiment.family)
    result = run(experiment, folder, cpus=cpus)
    return Simulation(folder, result["configuration"], result["figures"], result["rounds"])
