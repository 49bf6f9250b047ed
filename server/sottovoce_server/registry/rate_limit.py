"""Rate limits per caller: a sliding window of one minute, in this process's memory."""

import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter


class TooOften(Exception):
    """The caller has made too many requests.

    Args:
        seconds: time until the next request is allowed.
    """

    def __init__(self, seconds: int) -> None:
        super().__init__()
        self.seconds = seconds


class Limiter:
    """Counts requests per caller, and wrong tokens per address.

    Args:
        requests: allowed requests per caller and minute.
        refusals: allowed wrong tokens per address and minute.
    """

    def __init__(self, requests: int, refusals: int) -> None:
        self._window = MovingWindowRateLimiter(MemoryStorage())
        self._requests = RateLimitItemPerMinute(requests, namespace="requests")
        self._refusals = RateLimitItemPerMinute(refusals, namespace="refusals")

    def count_request(self, caller: str) -> None:
        """Count a request.

        Raises:
            TooOften: the limit is exceeded.
        """
        if not self._window.hit(self._requests, caller):
            raise TooOften(self._wait(self._requests, caller))

    def count_refusal(self, address: str) -> None:
        """Count a wrong token. Valid tokens still pass, so that nobody can lock out a neighbour.

        Raises:
            TooOften: the limit is exceeded.
        """
        if not self._window.hit(self._refusals, address):
            raise TooOften(self._wait(self._refusals, address))

    def _wait(self, item: RateLimitItemPerMinute, who: str) -> int:
        return max(1, round(self._window.get_window_stats(item, who).reset_time - time.time()))
