"""Prepared states of a federation, and any number of schedules that begin in one of them."""

import gc
import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from flwr.app import Message
from tests.simulation.choices import Choices, shrunk
from tests.simulation.disk import ROOT, Disk, File, Folder
from tests.simulation.network import Rates
from tests.simulation.schedule import DISTRIBUTED, HOME, ROUNDS, Run, Schedule
from tests.simulation.witness import Violation, Witness, journal_of
from tests.simulation.world import COORDINATOR, LABELS, Stage, create_federation, laid_under

from sottovoce_server.home.coordinator_home import ServerHome

QUIET = Rates(**dict.fromkeys(Rates.__dataclass_fields__, 0.0))
"""Nothing goes wrong."""
STORM = Rates(
    lost=0.03, late=0.03, twice=0.12, changed=0.03, process=0.12, outage=0.02, coordinator=0.9, away=0.03, beside=0.1,
    signed_before=0.1, another=0.1,
)  # fmt: skip
"""More goes wrong than usual: few schedules find a fault, and few runs are published."""
BEGUN = {
    "joined": ("create .round.", 1, 125),
    "after the first round": ("create .round.", 2, 100),
    "after the last round": ("create .round.", 3, 80),
    "trained": ("mkdir .release.", 1, 65),
}
"""States in which a run's coordinator was killed: before which of its effects, at which visit, and how many are left
when it is resumed."""
NEW, SHARED = "new", "new, distributed noise"
CORRELATED = "correlated noise, after the first round"
LIFETIME = 1.6
"""How many times the ε of a run a label may spend: two runs fit, three do not."""
BOTH = "two runs joined"
EACH = 2
"""How often each other state is played for one time that two runs are, which take as long as many."""
COLLECT_EVERY = 50
"""Number of schedules between two garbage collections."""


@dataclass(frozen=True)
class State:
    """A prepared state.

    Args:
        disk: everybody's disk.
        witness: what was seen until then.
        runs: the runs under way.
        effects: of the coordinator's app from here to the end of the run, about.
    """

    disk: Disk
    witness: Witness
    runs: tuple[Run, ...] = ()
    effects: int = 155


@dataclass
class Outcome:
    """What came of a schedule.

    Args:
        seed: of the schedule.
        state: the prepared state's name.
        end: how the run ended.
        made: what went wrong, by site.
        rates: how often what went wrong.
        violation: what must never be, or None.
        trace: every effect, if it was asked for.
    """

    seed: int
    state: str
    end: str
    made: dict[str, int]
    rates: Rates
    violation: str | None = None
    trace: list[str] = field(default_factory=list)


class Simulation:
    """Schedules over one federation; `simulation(folder)` makes one.

    Args:
        stage: what the patched product acts in.
        states: prepared states, by name.
    """

    def __init__(self, stage: Stage, states: dict[str, State]) -> None:
        self._stage = stage
        self.states = states

    def play(
        self,
        seed: int,
        *,
        only: Collection[str] | None = None,
        traced: bool = False,
        state: str | None = None,
        rates: Rates | None = None,
    ) -> Outcome:
        """One schedule.

        Args:
            seed: determines the prepared state, how much goes wrong, and what.
            only: sites at which something may happen, as in `Outcome.made`; None: all.
            traced: whether to keep every effect.
            state: name of the prepared state; None: the seed decides.
            rates: how often what goes wrong; None: as usual for half of the seeds, and `STORM` for the others.
        """
        single = [name for name in self.states if name != BOTH]
        names = EACH * single + [BOTH]
        rates = rates or (Rates(), STORM)[seed // len(names) % 2]
        name = state or names[seed % len(names)]
        prepared, trace = self.states[name], []
        choices = Choices(seed, only)
        schedule = self.schedule(name, choices, rates, trace.append if traced else None)
        outcome = Outcome(seed, name, "", choices.made, rates, None, trace)
        try:
            runs = schedule.play([replace(run) for run in prepared.runs])
            outcome.end = ", ".join(f"{run.state} {run.said}".strip() for run in runs) or "not begun"
        except Violation as violation:
            outcome.violation = str(violation)
        if seed % COLLECT_EVERY == 0:
            gc.collect()
        return outcome

    def schedule(self, state: str, choices: Choices, rates: Rates, trace: Callable[[str], None] | None) -> Schedule:
        """A schedule that begins in a prepared state."""
        prepared = self.states[state]
        return Schedule(
            self._stage, prepared.disk, prepared.witness, choices, rates, trace, prepared.effects, salt=state
        )

    @property
    def known(self) -> float:
        """Share of the messages whose answer was known."""
        answers = self._stage.answers
        return answers.known / max(1, answers.known + answers.made)

    def forget_answers(self) -> None:
        """Have labels answer everything anew: their code has changed."""
        self._stage.answers.clear()

    def frozen(self) -> dict[bytes, Folder]:
        """All states of machines so far, by the digest that they had."""
        return self._stage.frozen

    @contextmanager
    def delivered(self) -> Iterator[list[tuple[str, Message]]]:
        """All messages that labels are handed meanwhile, each with the label's name."""
        messages = self._stage.answers.delivered = []
        try:
            yield messages
        finally:
            self._stage.answers.delivered = None

    def shrink(self, failed: Outcome) -> Outcome:
        """The same violation, with as little as possible going wrong; traced."""

        def again(only: Collection[str], *, traced: bool = False) -> Outcome:
            return self.play(failed.seed, only=only, traced=traced, state=failed.state, rates=failed.rates)

        return again(shrunk(list(failed.made), lambda only: again(only).violation is not None), traced=True)


def report(outcome: Outcome, *, last: int = 40) -> str:
    """A violation in words, with what led to it and how to see it again."""
    what = "\n".join(f"  {site}: {value}" for site, value in outcome.made.items())
    return (
        f"{outcome.violation}\nfrom the state '{outcome.state}', with\n{what or '  nothing going wrong'}\n"
        + "\n".join(outcome.trace[-last:])
        + f"\nAgain: make simulate-faults SEED={outcome.seed} SCHEDULES=1"
    )


@contextmanager
def simulation(folder: Path) -> Iterator[Simulation]:
    """A federation with its prepared states.

    Args:
        folder: an empty folder on the real disk, for the federation's homes.
    """
    limits = create_federation(folder, runs=LIFETIME)
    disabled, collecting = logging.root.manager.disable, gc.isenabled()
    logging.disable(logging.CRITICAL)
    with laid_under() as stage:
        stage.disk.load(str(folder / COORDINATOR), COORDINATOR)
        for label in LABELS:
            stage.disk.load(str(folder / "labels" / label), label)
        identity = ServerHome(HOME).identity()
        witness = Witness(stage.disk, ROUNDS, limits, lambda: journal_of(identity))
        journal = stage.disk.find(f"{ROOT}/{COORDINATOR}/journal.jsonl")
        assert isinstance(journal, File)
        witness.begin(journal.data)
        states = {NEW: State(stage.disk, witness)}
        for name, (effect, visit, left) in BEGUN.items():
            schedule = Schedule(stage, states[NEW].disk, witness, Choices(0), QUIET, salt=f"before {name}")
            run = schedule.play_until(effect, visit)
            states[name] = State(schedule.disk, schedule.witness, (run,), left)
        schedule = Schedule(stage, states[NEW].disk, witness, Choices(0, quiet=True), QUIET, salt=f"before {SHARED}")
        schedule.sign_anew(DISTRIBUTED)
        states[SHARED] = State(schedule.disk, schedule.witness)
        schedule = Schedule(stage, schedule.disk, schedule.witness, Choices(0), QUIET, salt=f"before {CORRELATED}")
        effect, visit, left = BEGUN["after the first round"]
        run = schedule.play_until(effect, visit, banded=True)
        states[CORRELATED] = State(schedule.disk, schedule.witness, (run,), left)
        joined = states["joined"]
        schedule = Schedule(stage, joined.disk, joined.witness, Choices(1), QUIET, salt=f"before {BOTH}")
        effect, visit, left = BEGUN["joined"]
        both = (*joined.runs, schedule.play_until(effect, visit))
        states[BOTH] = State(schedule.disk, schedule.witness, both, left)
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            yield Simulation(stage, states)
        finally:
            gc.unfreeze()
            if collecting:
                gc.enable()
            logging.disable(disabled)
