"""A Flower grid with an adjustable polling interval; Flower's own polls for replies every three seconds."""

import math
import time
from collections.abc import Callable, Iterable

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run

PAUSES = (0.25, 3.0)
"""Shortest and longest polling interval, seconds."""
SHARE = 0.05
"""Polling interval as a share of the time waited so far."""


class PollingGrid(Grid):
    """Delegates everything to another grid, but waits for replies itself.

    Args:
        grid: Flower's grid.
        pause: waits until the next poll, given the seconds waited so far.
    """

    def __init__(self, grid: Grid, pause: Callable[[float], None]) -> None:
        self._grid = grid
        self._pause = pause

    def set_run(self, run: Run) -> None:
        """Delegate."""
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        """Delegate."""
        return self._grid.run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Delegate."""
        return self._grid.create_message(content, message_type, dst_node_id, group_id, ttl)

    def get_node_ids(self) -> Iterable[int]:
        """Delegate."""
        return self._grid.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Delegate."""
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Delegate."""
        return self._grid.pull_messages(message_ids)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Send all messages, and wait until all are answered or the timeout expires."""
        waiting = set(filter(None, self._grid.push_messages(messages)))  # None: could not be sent
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
    """The pause in a deployment: short after a short wait, and never long.

    Args:
        waited: seconds waited so far.
    """
    shortest, longest = PAUSES
    time.sleep(min(longest, max(shortest, SHARE * waited)))
