"""Storage of the data that determines a run's model: initial parameters and each round's sum, one file each.

Labels that missed rounds are sent the sums that they lack, so all sums are kept until the run ends.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import ConfigurationError
from sottovoce.files import write_bytes

OWNER_ONLY = 0o600


@dataclass(frozen=True)
class SumStore:
    """A folder of sums.

    Args:
        folder: created with the first file.
    """

    folder: Path

    def begin(self, first: NDArray[np.float32]) -> None:
        """Store the run's initial parameters, `[P]`."""
        write_bytes(self._first, first.astype("<f4").tobytes(), mode=OWNER_ONLY)

    def first(self) -> NDArray[np.float32]:
        """The parameters stored by `begin`.

        Raises:
            ConfigurationError: they are missing.
        """
        return np.frombuffer(_read(self._first), "<f4")

    def add(self, number: int, data: bytes) -> None:
        """Store a round's `RoundSum.to_bytes`; it is on disk when this returns."""
        write_bytes(self._of(number), data, mode=OWNER_ONLY)

    def sum_of(self, number: int) -> bytes:
        """A round's sum stored by `add`.

        Raises:
            ConfigurationError: it is missing.
        """
        return _read(self._of(number))

    @property
    def _first(self) -> Path:
        return self.folder / "first"

    def _of(self, number: int) -> Path:
        return self.folder / f"{number:07d}"


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise ConfigurationError("A sum of the run is missing, so labels cannot follow it.") from None
