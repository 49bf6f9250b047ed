"""Global parameters as Flower's records and as one vector."""

import numpy as np
from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray


def flat(arrays: ArrayRecord) -> NDArray[np.float32]:
    """All arrays of a record as one float32 vector, in the record's order."""
    return np.concatenate([np.asarray(array.numpy(), dtype=np.float32).ravel() for array in arrays.values()])


def moved(arrays: ArrayRecord, update: NDArray[np.float32]) -> ArrayRecord:
    """A record of the same names and shapes, moved by an update: float32 `[P]`, in the record's order."""
    result, start = {}, 0
    for name, array in arrays.items():
        old = np.asarray(array.numpy(), dtype=np.float32)
        result[name] = Array(old + update[start : start + old.size].reshape(old.shape))
        start += old.size
    return ArrayRecord(result)
