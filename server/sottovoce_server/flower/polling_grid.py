"""A Flower grid with an adjustable polling interval; Flower's own polls for replies every three seconds."""

import math
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import httpx
from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

PAUSES = (0.25, 3.0)
"""Shortest and longest polling interval, seconds."""
SHARE = 0.05
"""Polling interval as a share of the time waited so far."""
AWAY_SECONDS = 600.0
"""Longest time without a connection to the SuperLink, as in a network outage, before the run breaks off, seconds."""
LONGEST_WAIT = 10.0
"""Longest wait between two attempts, seconds."""
RETURN_SECONDS = 120.0
"""Longest wait for labels that are disconnected, seconds. After a restart nodes connect again one by one, each when the
heartbeats of its former connection are overdue; until then Flower takes it for connected, but cannot reach it."""
RETURN_PAUSE = 1.0
"""Interval between checks for reconnected labels, seconds."""
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""Errors that mean that nothing reached the SuperLink, so a message may be sent again."""
_T = TypeVar("_T")


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
        """Delegate, with retries."""
        return _reached(lambda: list(self._grid.get_node_ids()), httpx.TransportError)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Delegate; retry only if nothing can have been sent."""
        sent = list(messages)
        return _reached(lambda: list(self._grid.push_messages(sent)), *NOT_SENT)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Delegate, with retries. Replies in a lost response count as missing."""
        wanted = list(message_ids)
        return _reached(lambda: list(self._grid.pull_messages(wanted)), httpx.TransportError)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Send all messages, and wait until all are answered or the timeout expires."""
        waiting = set(filter(None, self.push_messages(messages)))  # None: could not be sent
        started = time.monotonic()
        replies: list[Message] = []
        while waiting and time.monotonic() - started < (math.inf if timeout is None else timeout):
            arrived = list(self.pull_messages(waiting))
            replies.extend(arrived)
            waiting.difference_update(message.metadata.reply_to_message_id for message in arrived)
            if waiting:
                self._pause(time.monotonic() - started)
        return replies


def _reached(call: Callable[[], _T], *errors: type[Exception]) -> _T:
    """Retry a call after the given errors, with growing pauses, for up to `AWAY_SECONDS`.

    Raises:
        httpx.TransportError: the last of these errors, or any other one.
    """
    tries = Retrying(
        retry=retry_if_exception_type(errors),
        stop=stop_after_delay(AWAY_SECONDS),
        wait=wait_random_exponential(max=LONGEST_WAIT),
        sleep=lambda seconds: time.sleep(seconds),  # looked up at call time, so that tests need not wait
        reraise=True,
    )
    return tries(call)


def sleep(waited: float) -> None:
    """The pause in a deployment: short after a short wait, and never long.

    Args:
        waited: seconds waited so far.
    """
    shortest, longest = PAUSES
    time.sleep(min(longest, max(shortest, SHARE * waited)))
