"""Flower's messages of a round: an encoded frame and, with a report request, what a label lacks to follow the run."""

from collections.abc import Mapping

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from sottovoce.run.records import FRAME, PARAMETERS, RECORD, SUMS, Action
from sottovoce_server.rounds.sum_store import SumStore


class Lacked:
    """What rides along with a round's requests: what labels lack, by where they stand.

    Args:
        sums: of the run.
        number: of the round.
    """

    def __init__(self, sums: SumStore, number: int) -> None:
        self._sums = sums
        self._number = number
        self._first: Array | None = None
        self._arrays: dict[int, Array] = {}

    def by(self, stands: int | None) -> dict[str, ArrayRecord]:
        """The records for a label that has followed so many rounds; None for one that has no parameters yet."""
        records = {}
        if stands is None:
            self._first = self._first or Array(self._sums.first())
            records[PARAMETERS] = ArrayRecord({PARAMETERS: self._first})
        lacked = range((stands or 0) + 1, self._number)
        if lacked:
            records[SUMS] = ArrayRecord({str(number): self._array(number) for number in lacked})
        return records

    def _array(self, number: int) -> Array:
        if number not in self._arrays:
            self._arrays[number] = Array(np.frombuffer(self._sums.sum_of(number), np.uint8))
        return self._arrays[number]


def message_to(node: int, action: Action, frame: bytes, records: Mapping[str, ArrayRecord] | None = None) -> Message:
    """A message to a node.

    Args:
        node: Flower's.
        action: what it asks for.
        frame: the encoded message of masked rounds.
        records: what rides along.
    """
    content = RecordDict({RECORD: ConfigRecord({FRAME: frame}), **(records or {})})
    return Message(content, dst_node_id=node, message_type=action.value)
