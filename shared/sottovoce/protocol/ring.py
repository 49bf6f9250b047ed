"""The ring Z_2^b in which updates are summed, and the encoding of its elements."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import ConfigurationError
from sottovoce.protocol.encoding import Bytes
from sottovoce.run.configuration import RING_BITS

RingArray = NDArray[np.uint16] | NDArray[np.uint32]
CHUNK = 1 << 14  # elements; a chunk and its packed form stay in the cache


@dataclass(frozen=True)
class Ring:
    """Z_2^b. In memory an element is a uint16 (b = 16) or a uint32, of which b = 24 uses the low three bytes.

    Args:
        bits: b: 16, 24 or 32.
    """

    bits: int

    def __post_init__(self) -> None:
        if self.bits not in RING_BITS:
            raise ConfigurationError(f"Expected ring_bits={self.bits} to be one of {RING_BITS}.")

    @property
    def dtype(self) -> np.dtype[np.uint16] | np.dtype[np.uint32]:
        """Type of arrays in memory; little-endian on every machine, as on the wire."""
        return np.dtype("<u2") if self.bits == 16 else np.dtype("<u4")

    @property
    def element_bytes(self) -> int:
        """Bytes of one element on the wire."""
        return self.bits // 8

    def zeros(self, elements: int) -> RingArray:
        """`[elements]` zeros."""
        return np.zeros(elements, self.dtype)

    def pack(self, vector: RingArray) -> memoryview:
        """The wire form of `[elements]`: a view of the same memory if every byte is sent."""
        if not vector.size:
            return memoryview(b"")
        if self.bits != 24:
            return vector.data.cast("B").toreadonly()
        packed = np.empty((vector.size, 3), np.uint8)
        narrow = vector.view(np.uint8).reshape(-1, 4)
        for start in range(0, vector.size, CHUNK):
            packed[start : start + CHUNK] = narrow[start : start + CHUNK, :3]
        return packed.data.cast("B").toreadonly()

    def unpack(self, packed: Bytes) -> RingArray:
        """The vector of a wire form, `[elements]`: a view of the same memory if every byte was sent."""
        if self.bits == 16:
            return np.frombuffer(packed, np.dtype("<u2"))
        if self.bits == 32:
            return np.frombuffer(packed, np.dtype("<u4"))
        vector = self.zeros(len(packed) // self.element_bytes)
        self.add_packed(vector, packed)
        return vector

    def add_packed(self, total: RingArray, packed: Bytes) -> None:
        """Add a packed vector to `total` (`[elements]`) in place; call `reduce` after the last one."""
        if self.bits != 24:
            np.add(total, np.frombuffer(packed, self.dtype), out=total)
            return
        narrow = np.frombuffer(packed, np.uint8).reshape(-1, 3)
        wide = np.zeros((CHUNK, 4), np.uint8)
        for start in range(0, total.size, CHUNK):
            part = total[start : start + CHUNK]
            wide[: part.size, :3] = narrow[start : start + CHUNK]
            np.add(part, wide.view(self.dtype)[: part.size, 0], out=part)

    def reduce(self, vector: RingArray) -> None:
        """Bring every element into 0 … 2^b − 1, in place."""
        if self.bits == 24:
            np.bitwise_and(vector, np.uint32(0xFFFFFF), out=vector)
