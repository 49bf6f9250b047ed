"""Which of a model's parameters a run trains: only those get noise, are masked and are summed."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import ConfigurationError
from sottovoce.models import discovery, interfaces, parameters
from sottovoce.run.configuration import RunConfiguration


def trainable_mask(config: RunConfiguration) -> NDArray[np.bool_]:
    """Mask of the flat vector's trainable numbers, bool `[P]`, read-only; the others keep their initial values.

    Raises:
        ConfigurationError: the task or family is unknown, no parameter has one of the run's prefixes, or those that do
            include none trained on audio, or none trained afterwards in families that have such.
    """
    return _layout(config)[1]


def model_shapes(config: RunConfiguration) -> dict[str, tuple[int, ...]]:
    """The shape of each parameter of a run's model, in the order of the flat vector.

    Raises:
        ConfigurationError: as `trainable_mask`.
    """
    return _layout(config)[0]


@lru_cache(maxsize=4)  # used in every round; a model is built for it
def _layout(config: RunConfiguration) -> tuple[dict[str, tuple[int, ...]], NDArray[np.bool_]]:
    family, spec = discovery.family(config.task, config.family), discovery.spec_of(config.task, config.family)
    model = parameters.fresh(family, spec, len(config.classes), seed=0)
    shapes, private = parameters.shapes(model), family.private_parameters(model).keys()
    found = parameters.chosen(shapes, config.trainable)
    parameters.limit(model, config.trainable)
    moved = interfaces.trainable(model).keys()
    for part, what in ((private, "are trained on audio"), (shapes.keys() - private, "are trained afterwards")):
        if part and not part & moved:
            raise ConfigurationError(f"The run trains none of the parameters of '{config.family}' that {what}.")
    found.setflags(write=False)
    return shapes, found
