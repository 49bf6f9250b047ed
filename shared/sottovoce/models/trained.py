"""Which of a model's parameters a run moves: only those are trained, get noise, are masked and added up."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sottovoce.models import parameters, registry
from sottovoce.training import TrainingConfig


@lru_cache(maxsize=4)  # asked for in every round
def trained(config: TrainingConfig) -> NDArray[np.bool_]:
    """Which of the flat vector's numbers a run moves, bool `[P]`, read-only; the others stay as the run begins.

    Raises:
        ConfigurationError: the task or family is unknown, or no parameter has a name that begins as the run says.
    """
    family, spec = registry.family(config.task, config.family), registry.spec_of(config.task, config.family)
    found = parameters.chosen(parameters.shapes_of(family, spec, len(config.classes)), config.trained)
    found.setflags(write=False)
    return found
