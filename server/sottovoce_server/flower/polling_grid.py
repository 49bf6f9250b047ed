"""A grid of Flower's that looks for replies as often as it is told to: Flower's own looks every three seconds."""

import math
import time
from collections.abc import Callable, Iterable

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run

PAUSES = (0.25, 3.0)
"""Shortest and longest seconds between two looks."""
SHARE = 0.05
"""Share of the time waited so far that passes before the next look: replies that took long may come a little later."""


class PollingGrid(Grid):
    """Passes everything on, and waits for replies by itself.

    Args:
        grid: Flower's.
        pause: waits between two looks, when it is told how many seconds the replies have taken so far.
    """

    def __init__(self, grid: Grid, pause: Callable[[float], None]) -> None:
        self._grid = grid
        self._pause = pause

    def set_run(self, run: Run) -> None:
        """Pass it on."""
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        """The grid's."""
        return self._grid.run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Pass it on."""
        return self._grid.create_message(content, message_type, dst_node_id, group_id, ttl)

    def get_node_ids(self) -> Iterable[int]:
        """The grid's."""
        return self._grid.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Pass them on."""
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The grid's."""
        return self._grid.pull_messages(message_ids)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Send all, and wait until all are answered or the time is over."""
        waiting = set(filter(None, self._grid.push_messages(messages)))  # None: it could not be sent
        started = time.monotonic()
        replies: list[Message] = []
        while waiting and time.monotonic() - started < (math.inf if timeout is None else timeout):
            arrived = list(self._grid.pull_messages(waiting))
            replies.extend(arrived)
            waiting.difference_update(message.metadata.reply_to_message_id for message in arrived)
            if waiting:
                self._pause(time.monotonic() - started)
        return replies


def sleep(waited: float) -> None:
    """The pause of a deployment: short after a short wait, and never long.

    Args:
        waited: seconds so far.
    """
    shortest, longest = PAUSES
    time.sleep(min(longest, max(shortest, SHARE * waited)))
