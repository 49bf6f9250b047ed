"""Histories of one label that a coordinator of any kind writes to: messages of many runs' courses, in any order.

The courses are those of whole histories of the federation that began in the same state: in each, other labels dropped
out, so that their messages contradict one another. What the witness checks must hold for any messages and
any faults.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from flwr.app import Message
from tests.simulation.choices import Choices, shrunk
from tests.simulation.network import Rates
from tests.simulation.schedule import Schedule
from tests.simulation.simulation import QUIET, STORM, Outcome, Simulation
from tests.simulation.witness import Violation

LABEL = "label-2"
COURSES = 10
"""Number of courses in each state; the first is one in which nothing goes wrong."""
LIKELY = Rates(**{**dict.fromkeys(Rates.__dataclass_fields__, 0.0), "process": 0.06, "changed": 0.01})
"""How often what goes wrong at the label."""
TURNS = 0.15
"""Probability that the next message is not the next one of the course."""
MOST = 40
"""Largest number of messages in a history."""


@dataclass(frozen=True)
class Courses:
    """Messages to one label in several courses of a run, and the histories made from them.

    Args:
        simulation: the federation.
        state: prepared state from which all of them begin.
        courses: the messages of each, in the order in which the label was handed them.
    """

    simulation: Simulation
    state: str
    courses: Sequence[Sequence[Message]]

    @classmethod
    def of(cls, simulation: Simulation, state: str = "joined") -> "Courses":
        """Play some histories of the federation, and keep what the label is sent in them."""
        courses = []
        for seed in range(COURSES):
            with simulation.delivered() as messages:
                simulation.play(seed, state=state, rates=STORM if seed else QUIET)
            courses.append([message for name, message in messages if name == LABEL])
        return cls(simulation, state, courses)

    def play(self, seed: int, *, only: Collection[str] | None = None, traced: bool = False) -> Outcome:
        """One history of the label.

        Args:
            seed: determines it.
            only: as for `Simulation.play`.
            traced: as for `Simulation.play`.
        """
        choices, trace = Choices(seed, only), []
        schedule = self.simulation.schedule(self.state, choices, LIKELY, trace.append if traced else None)
        outcome = Outcome(seed, f"{LABEL}, {self.state}", "", choices.made, LIKELY, None, trace)
        try:
            outcome.end = self._until_over(schedule, choices)
        except Violation as violation:
            outcome.violation = str(violation)
        return outcome

    def _until_over(self, schedule: Schedule, choices: Choices) -> str:
        course = self.courses[choices.happens("course", len(self.courses) - 1, 0.9)]
        place = sent = 0
        while place < len(course) and sent < MOST:
            turn = choices.happens("turn", 4, TURNS)
            if turn == 1:  # one is lost
                place += 1
            elif turn == 2 and place:  # an earlier one comes again
                place = choices.draw("place") % place
            elif turn == 3:  # the coordinator goes on as in another course
                course = self.courses[choices.draw("course") % len(self.courses)]
                place = min(place, len(course))
            elif turn == 4:  # a message of any course, out of order
                other = self.courses[choices.draw("course") % len(self.courses)]
                schedule.link.answered(other[choices.draw("place") % len(other)])
            if place < len(course):
                schedule.link.answered(course[place])
            place, sent = place + 1, sent + 1
        schedule.witness.ledger(LABEL)
        left = not schedule.witness.open_runs(LABEL)
        return "has left all runs" if left else "waits"

    def shrink(self, failed: Outcome) -> Outcome:
        """The same violation, with as little as possible going wrong; traced."""

        def again(only: Collection[str], *, traced: bool = False) -> Outcome:
            return self.play(failed.seed, only=only, traced=traced)

        return again(shrunk(list(failed.made), lambda only: again(only).violation is not None), traced=True)
