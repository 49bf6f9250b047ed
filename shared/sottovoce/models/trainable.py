"""Which of a model's parameters a run moves: only those are trained, get noise, are masked and added up."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import ConfigurationError
from sottovoce.models import discovery, interfaces, parameters
from sottovoce.run.configuration import RunConfiguration


@lru_cache(maxsize=4)  # asked for in every round
def trainable_mask(config: RunConfiguration) -> NDArray[np.bool_]:
    """Which of the flat vector's numbers a run moves, bool `[P]`, read-only; the others stay as the run begins.

    Raises:
        ConfigurationError: the task or family is unknown, no parameter has a name that begins as the run says, or those
            that do leave nothing for audio to move, or nothing of what follows it in families where something does.
    """
    family, spec = discovery.family(config.task, config.family), discovery.spec_of(config.task, config.family)
    model = parameters.fresh(family, spec, len(config.classes), seed=0)
    shapes, private = parameters.shapes(model), family.private_parameters(model).keys()
    found = parameters.chosen(shapes, config.trainable)
    parameters.limit(model, config.trainable)
    moved = interfaces.trainable(model).keys()
    for part, what in ((private, "audio moves"), (shapes.keys() - private, "follows what audio moves")):
        if part and not part & moved:
            raise ConfigurationError(f"The run trains none of the parameters of '{config.family}' that {what}.")
    found.setflags(write=False)
    return found
