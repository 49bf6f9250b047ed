"""What the SuperLink keeps of runs: stands for `Control`, and outlives the coordinator's processes."""

from dataclasses import replace

from tests.simulation.choices import Choices
from tests.simulation.processes import Processes

from sottovoce_server.flower.control import FINISHED, FlowerRun, SuperLinkGone

PENDING, RUNNING = "pending", "running"


class FlowerRuns:
    """Flower's runs, each with the id of ours.

    Args:
        processes: the simulation's.
        choices: the schedule.
        silent: probability that the SuperLink does not respond to a call.
    """

    def __init__(self, processes: Processes, choices: Choices, silent: float) -> None:
        self._processes, self._choices, self._silent = processes, choices, silent
        self._runs: dict[int, FlowerRun] = {}

    def start(self, bundle: bytes, digest: str, run: str) -> int:
        """Accept a run, whose process is pending from now on."""
        self._processes.effect("start run")
        self._expect_heard()
        number = len(self._runs) + 1
        self._runs[number] = FlowerRun(number, run, PENDING, "", "")
        return number

    def runs(self) -> list[FlowerRun]:
        """All runs, newest first."""
        self._expect_heard()
        return list(self._runs.values())[::-1]

    def stop(self, number: int) -> bool:
        """Have a run count as ended."""
        self._processes.effect("stop run")
        self._expect_heard()
        self._end(number)
        return True

    def begin(self, run: str = "") -> list[tuple[int, str]]:
        """Begin what is pending: Flower's number and our id of each.

        Args:
            run: our id of the only run to begin; empty: all.
        """
        begun = [
            (each.number, each.name)
            for each in self._runs.values()
            if each.status == PENDING and each.name.startswith(run)
        ]
        for number, _ in begun:
            self._runs[number] = replace(self._runs[number], status=RUNNING)
        return begun

    def process_ended(self, number: int) -> None:
        """A run's process has ended; Flower may take some time to notice."""
        if not self._choices.happens("Flower waits", 1, 0.5):
            self._end(number)

    def _end(self, number: int) -> None:
        self._runs[number] = replace(self._runs[number], status=FINISHED)

    def _expect_heard(self) -> None:
        if self._choices.happens("SuperLink silent", 1, self._silent):
            raise SuperLinkGone("The SuperLink does not respond (ConnectTimeout).")
