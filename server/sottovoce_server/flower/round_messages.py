"""Flower's messages of a round: an encoded frame and, with a report request, the data that a label lacks."""

from collections.abc import Mapping

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from sottovoce.run.records import ADVERT, FRAME, PARAMETERS, RECORD, ROUNDS, SUMS, Action, OwnWords
from sottovoce_server.rounds.sum_store import SumStore


class Lacked:
    """Records sent with a round's requests: what each label lacks.

    Args:
        sums: the run's sums.
        number: the round's number.
    """

    def __init__(self, sums: SumStore, number: int) -> None:
        self._sums = sums
        self._number = number
        self._first: Array | None = None
        self._arrays: dict[int, Array] = {}

    def by(self, stands: int | None) -> dict[str, ArrayRecord]:
        """Records for a label that has applied this many rounds; None for one without parameters."""
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


def message_to(
    node: int,
    action: Action,
    frame: bytes,
    records: Mapping[str, ArrayRecord] | None = None,
    own: OwnWords | None = None,
) -> Message:
    """A message to a node.

    Args:
        node: number of Flower's node.
        action: kind of message.
        frame: the encoded message of masked rounds.
        records: records sent along.
        own: what the label said in an earlier run.
    """
    config = ConfigRecord({FRAME: frame})
    if own:
        config[ADVERT], config[ROUNDS] = own.advert, list(own.rounds)
    content = RecordDict({RECORD: config, **(records or {})})
    return Message(content, dst_node_id=node, message_type=action.value)
