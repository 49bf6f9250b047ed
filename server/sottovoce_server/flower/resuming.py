"""The thread of a starting SuperLink that resumes runs which were under way."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging import getLogger
from threading import Event, Thread

from sottovoce.errors import SottovoceError
from sottovoce_server.flower.control import connected
from sottovoce_server.home.coordinator_home import ServerHome
from sottovoce_server.rounds.automatic_resumption import resume_all, tell_all, under_way, untold

LOG = getLogger(__name__)
PAUSE = 1.0
"""Interval between attempts to reach the starting SuperLink, seconds."""
MOST_ATTEMPTS = 120
"""Number of these attempts."""


class _Stopping(Exception):
    """The server stops meanwhile."""


@contextmanager
def resuming(home: ServerHome, say: Callable[[str, str], None]) -> Iterator[None]:
    """Resume runs that were under way, while the block runs the SuperLink.

    Args:
        home: the coordinator's home.
        say: called with the first digits of a run's id, and what happens to the run.
    """
    stop = Event()
    thread = Thread(target=_resume, args=(home, say, stop), daemon=True)
    if any(under_way(home)) or any(untold(home)):
        thread.start()
    try:
        yield
    finally:
        stop.set()


def _resume(home: ServerHome, say: Callable[[str, str], None], stop: Event) -> None:
    def pause(seconds: float) -> None:
        if stop.wait(seconds):
            raise _Stopping

    try:
        with connected(home) as control:
            for attempt in range(MOST_ATTEMPTS):
                try:
                    control.runs()
                    break
                except SottovoceError:
                    if attempt + 1 == MOST_ATTEMPTS:
                        raise
                    pause(PAUSE)
            tell_all(home, control, say=say)
            resume_all(home, control, pause=pause, say=say)
    except _Stopping:
        return
    except Exception as error:
        LOG.warning("Runs that were under way are not resumed: %s", error)
