"""How often one caller may ask: a moving window of a minute, in this process's memory."""

import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter


class TooOften(Exception):
    """The caller has asked too often.

    Args:
        seconds: after which it may ask again.
    """

    def __init__(self, seconds: int) -> None:
        super().__init__()
        self.seconds = seconds


class Limiter:
    """Counts requests by caller, and wrong tokens by address.

    Args:
        requests: that a caller may make in a minute.
        refusals: wrong tokens that an address may send in a minute.
    """

    def __init__(self, requests: int, refusals: int) -> None:
        self._window = MovingWindowRateLimiter(MemoryStorage())
        self._requests = RateLimitItemPerMinute(requests, namespace="requests")
        self._refusals = RateLimitItemPerMinute(refusals, namespace="refusals")

    def count_request(self, caller: str) -> None:
        """Count a request.

        Raises:
            TooOften: it is one too many.
        """
        if not self._window.hit(self._requests, caller):
            raise TooOften(self._wait(self._requests, caller))

    def count_refusal(self, address: str) -> None:
        """Count a wrong token. Right ones pass all the same, so that nobody can lock out a neighbour.

        Raises:
            TooOften: it is one too many.
        """
        if not self._window.hit(self._refusals, address):
            raise TooOften(self._wait(self._refusals, address))

    def _wait(self, item: RateLimitItemPerMinute, who: str) -> int:
        return max(1, round(self._window.get_window_stats(item, who).reset_time - time.time()))
