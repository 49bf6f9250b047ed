"""Evaluation of a global model on the label's held-out tracks."""

import numpy as np
from numpy.typing import NDArray

from sottovoce.models import discovery
from sottovoce.models import parameters as flat
from sottovoce.models.interfaces import Family
from sottovoce.protocol.layout import COUNTER_BITS
from sottovoce.run.configuration import RunConfiguration
from sottovoce_client.data.dataset import TrackDataset

TRACKS_AT_ONCE = 32
"""Size of an evaluation batch, in tracks."""
LARGEST_COUNTER = 2**COUNTER_BITS - 1
"""Largest value of a counter; larger ones are saturated."""


def measure(
    family: Family, parameters: NDArray[np.float32], dataset: TrackDataset, config: RunConfiguration
) -> NDArray[np.int64]:
    """The task's counters, summed over the held-out tracks: `[len(task.counters(classes))]`, to be masked.

    Raises:
        ConfigurationError: the parameters do not fit the model.
    """
    classes = len(config.classes)
    task = discovery.task(family.task)
    model = flat.model_of(family, dataset.spec, classes, parameters)
    counters = np.zeros(len(task.counters(classes)), dtype=np.int64)
    for batch in dataset.all_batches(TRACKS_AT_ONCE):
        counters += task.measure(family, model, batch, classes)
    # The ring holds counters up to this; a larger one would fail every round.
    return np.minimum(counters, LARGEST_COUNTER)
