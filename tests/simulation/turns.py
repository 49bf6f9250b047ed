"""Several of the coordinator's processes at a time: one runs, and hands over where it asks network or clock."""

import threading
from collections.abc import Callable, Sequence

from tests.simulation.choices import Choices
from tests.simulation.processes import Processes


class _Abandoned(BaseException):
    """Another process found a violation: this one ends, without an effect."""


class Turns:
    """Takes turns among jobs, each in a thread of its own; one runs at a time, so that a schedule decides the order.

    Args:
        processes: the simulation's.
        choices: decides who is next.
    """

    def __init__(self, processes: Processes, choices: Choices) -> None:
        self._processes, self._choices = processes, choices
        self._waiting: dict[int, threading.Semaphore] = {}
        self._threads: dict[int, int] = {}
        self._back = threading.Semaphore(0)
        self._error: BaseException | None = None

    def run(self, jobs: Sequence[Callable[[], None]]) -> None:
        """Run all jobs to their ends; the first violation ends them all, and is raised."""
        self._waiting = {number: threading.Semaphore(0) for number in range(len(jobs))}
        threads = [threading.Thread(target=self._job, args=(number, job)) for number, job in enumerate(jobs)]
        for thread in threads:
            thread.start()
        while self._waiting:
            self._waiting[self._next()].release()
            self._back.acquire()
        for thread in threads:
            thread.join()
        if self._error:
            raise self._error

    def hand_over(self) -> None:
        """Let the next thread run; returns when it is this thread's turn again."""
        me = self._threads.get(threading.get_ident())
        if me is None or self._next() == me:
            return
        running, self._processes.running = self._processes.running, None
        self._back.release()
        self._waiting[me].acquire()
        self._processes.running = running
        if self._error:
            raise _Abandoned

    def _next(self) -> int:
        numbers = sorted(self._waiting)
        return numbers[self._choices.draw("turn") % len(numbers)]

    def _job(self, number: int, job: Callable[[], None]) -> None:
        self._threads[threading.get_ident()] = number
        self._processes.threads.add(threading.get_ident())
        self._waiting[number].acquire()
        try:
            if not self._error:
                job()
        except _Abandoned:
            pass
        except BaseException as error:
            self._error = self._error or error
        finally:
            self._processes.running = None
            del self._threads[threading.get_ident()]
            self._processes.threads.discard(threading.get_ident())
            del self._waiting[number]
            self._back.release()
