"""Evaluation of a global model on the label's held-out tracks."""

import numpy as np
from numpy.typing import NDArray

from sottovoce.models import discovery
from sottovoce.models import parameters as flat
from sottovoce.models.interfaces import Family
from sottovoce.run.configuration import RunConfiguration
from sottovoce_client.data.dataset import TrackDataset


def measure(
    family: Family, parameters: NDArray[np.float32], dataset: TrackDataset, config: RunConfiguration
) -> NDArray[np.int64]:
    """The task's counters, summed over the held-out units: `[len(task.counters(classes))]`, exact.

    A unit counts once: an artist by the first of its tracks. Each is measured alone, so that it adds to the counters
    what it would add without the others. In a batch, another unit moves the random draws of those after it, and the
    last bits of a matrix product, which a model can be made to depend on.

    Raises:
        ConfigurationError: the parameters do not fit the model.
    """
    classes = len(config.classes)
    task = discovery.task(family.task)
    model = flat.model_of(family, dataset.spec, classes, parameters)
    counters = np.zeros(len(task.counters(classes)), dtype=np.int64)
    for batch in dataset.all_batches(1, np.unique(dataset.unit_of, return_index=True)[1]):
        counters += task.measure(family, model, batch, classes)
    return counters
