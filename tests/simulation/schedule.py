"""One schedule: a history of the whole federation from a prepared state to its end, checked after every step."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import httpx
from flwr.app import Context, RecordDict
from tests.simulation.choices import Choices
from tests.simulation.disk import ROOT, Disk
from tests.simulation.flower_runs import FlowerRuns
from tests.simulation.network import Connection, Rates, SuperLink, fault_of
from tests.simulation.processes import Fault, Killed, Process, Processes
from tests.simulation.turns import Turns
from tests.simulation.witness import Witness, expect
from tests.simulation.world import CLASSES, COORDINATOR, LABELS, Stage

from sottovoce.errors import ConfigurationError, SottovoceError
from sottovoce.files import write_text
from sottovoce.run.configuration import Trust
from sottovoce.run.request import RunRequest
from sottovoce_client.flower.client_app import client_app
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.pinning import pin
from sottovoce_client.home.policy import Policy
from sottovoce_client.rounds.label import Label
from sottovoce_server.flower import deployed_coordinator, resuming
from sottovoce_server.flower.control import SuperLinkGone
from sottovoce_server.home.coordinator_home import ServerHome
from sottovoce_server.home.runs import OVER, RunFolder
from sottovoce_server.rounds.submission import ordered, resumed, submit

ROUNDS = 2
TIMEOUT = 5.0
"""Longest time of one exchange, simulated seconds."""
MOST_STARTS = 4
"""Number of times that a run is resumed while faults strike, and again when they have stopped."""
COMMAND_EFFECTS = 15
"""Effects of a command of the coordinator's people among which a fault chooses."""
COORDINATORS_FAULTS = tuple(fault for fault in Fault if fault is not Fault.STUCK)
"""What strikes the coordinator, which has no ledger."""
LAST_WORDS = (
    "Every round of the run was aborted",
    "Only ",
    "The agreement has been signed again since this run was announced.",
)
"""How messages begin with which a run ends for good, without a release."""
ENDED = "This run has ended for good: its labels have left it."
NOT_RESUMED = (
    "The run broke off before its labels had joined, so there is nothing to resume.",
    "This run is finished: its release is published.",
    ENDED,
)
REQUEST = RunRequest(rounds=ROUNDS, init="none", seed=7)
SETTINGS = (
    (("cross_check = true", "cross_check = false"),),
    (('noise = "local"', 'noise = "distributed"'), ("min_honest = 1", "min_honest = 2")),
    (('noise = "distributed"', 'noise = "local"'), ("min_honest = 2", "min_honest = 1")),
)
"""What changes in the settings of an agreement that is signed anew."""
DISTRIBUTED = 2
"""The change to distributed noise, from 1."""
LATEST = 40
"""Number of turns after which another run begins, at most."""
HOME = Path(f"{ROOT}/{COORDINATOR}")


@dataclass
class Run:
    """A run as the coordinator's people see it: its id, how often it was begun, and how it ended so far."""

    id: str
    state: str = "submitted"
    said: str = ""
    starts: int = 0

    @property
    def over(self) -> bool:
        """Whether nothing is left to do."""
        return self.state in ("published", "over")


class Schedule:
    """One history.

    Args:
        stage: what the patched product acts in; this schedule takes it over.
        disk: the prepared state's disk, which is copied.
        witness: the prepared state's witness, which is copied.
        choices: what happens.
        rates: how often what goes wrong.
        trace: told of every effect.
        effects: of the coordinator's app among which a fault chooses.
        salt: of the randomness of the coordinator's processes.
    """

    def __init__(
        self,
        stage: Stage,
        disk: Disk,
        witness: Witness,
        choices: Choices,
        rates: Rates,
        trace: Callable[[str], None] | None = None,
        effects: int = 160,
        salt: str = "",
    ) -> None:
        self.stage = stage
        self.processes = stage.processes = Processes(trace, salt)
        self.disk = stage.disk = disk.clone(self.processes, stage.frozen)
        self.choices, self.rates = choices, rates
        self.effects = effects
        self.runs: list[Run] = []
        self._signed = False
        self._down: Fault | None = None
        """How the server has ended, if it has not been started again."""
        self.flower = stage.flower = FlowerRuns(self.processes, choices, rates.outage)
        self.witness = stage.witness = witness.clone(self.disk)
        apps = {}
        for node, name in enumerate(LABELS, start=1):
            root = Path(f"{ROOT}/{name}")
            apps[node] = name, client_app(lambda context, root=root: Label.open(root))
        self.turns = Turns(self.processes, choices)
        self.processes.clock.on_sleep = self.turns.hand_over
        self.link = SuperLink(
            self.processes,
            choices,
            apps,
            self.power_cut,
            self.witness.heard,
            self.witness.sent,
            rates,
            self.disk,
            stage.answers,
            stage.frozen,
            self.witness.made,
            self.witness.recording,
        )
        self.processes.on_effect = self.link.beside

    def power_cut(self, machine: str) -> None:
        """A machine is what its disk holds."""
        self.disk.power_cut(machine, lambda site, options: self.choices.happens(site, options - 1, 0.5))
        if machine != COORDINATOR:
            self.witness.ledger(machine)

    @contextmanager
    def coordinator(self, what: str) -> Iterator[SimpleNamespace]:
        """A process of the coordinator, which faults may strike; `.killed` says afterwards whether one did."""
        effects = self.effects if what == "app" else COMMAND_EFFECTS
        fault = fault_of(self.choices, f"{what} fault", self.rates.coordinator, effects, COORDINATORS_FAULTS)
        outcome = SimpleNamespace(killed=False)
        self.disk.thaw(COORDINATOR)
        try:
            with self.processes.process(what, COORDINATOR, fault) as process:
                yield outcome
                if process.ended:
                    raise Killed(process.ended)
        except Killed as killed:
            outcome.killed = True
            if killed.fault is Fault.POWER and not self._down:
                self.stop_server(Fault.POWER)
        self.witness.journal()

    def stop_server(self, how: Fault = Fault.KILLED) -> None:
        """The SuperLink ends, and with it all of the coordinator's processes."""
        self._down = how
        self.processes.end_all(COORDINATOR, how)
        if how is Fault.POWER:
            self.power_cut(COORDINATOR)

    def begin(self, *, banded: bool = False) -> Run | None:
        """Create and submit a run; None if the command that does so ends before it has made one.

        Args:
            banded: whether its noise is correlated between rounds, where labels add it together.
        """
        made: list[Run] = []
        with self.coordinator("train"), suppress(OSError, SuperLinkGone):
            home = ServerHome.open(HOME)
            agreement = home.invitation().agreement
            if agreement.noise is Trust.DISTRIBUTED and (banded or self.choices.happens("banded", 1, 0.5)):
                request = replace(REQUEST, min_separation=ROUNDS, bands=ROUNDS)
            else:
                request = REQUEST
            order = ordered(agreement, classes=CLASSES, name=None, patience=TIMEOUT, timeout=TIMEOUT, request=request)
            self.flower.runs()
            made.append(Run(RunFolder.create(home, order).run))
            submit(RunFolder.of(home, made[0].id), self.flower)  # type: ignore[arg-type]
        self.runs += made
        return made[0] if made else None

    def resume(self, run: Run) -> bool:
        """The coordinator's people resume a run; whether that could be done."""
        done = False
        with self.coordinator("resume"):
            try:
                home, control = ServerHome.open(HOME), self.flower
                folder = resumed(home, control, run.id, patience=TIMEOUT, timeout=TIMEOUT)  # type: ignore[arg-type]
                submit(folder, control)  # type: ignore[arg-type]
                done = True
            except ConfigurationError as error:
                run.state, run.said = "over", error.message
                expect(error.message in NOT_RESUMED, f"the run cannot be resumed: {error.message}")
            except (OSError, SuperLinkGone):
                pass
        return done

    def start_server(self) -> None:
        """The server starts again. Runs that were under way are resumed, or it says why not."""
        self._down = None
        said: dict[str, str] = {}
        expected = [run for run in self.runs if self._was_under_way(run)]
        with self.coordinator("server start") as outcome, suppress(OSError):
            stop = SimpleNamespace(wait=self.processes.clock.sleep)
            resuming._resume(ServerHome.open(HOME), said.__setitem__, stop)  # type: ignore[arg-type]
        for run in expected:
            told = outcome.killed or run.id[:8] in said
            expect(told, f"the server starts without a word on run {run.id[:8]}, which was under way")

    def _was_under_way(self, run: Run) -> bool:
        """Whether a run was at work, or about to be resumed, when its process or its server ended."""
        folder = HOME / "runs" / run.id
        progress = RunFolder(folder).progress()
        return run.state == "killed" and progress["state"] not in OVER and RunFolder(folder).keeper.has_snapshot

    def work(self, run: Run, number: int = 0) -> None:
        """The coordinator's app works on a run until it ends, or is ended.

        Args:
            run: the run.
            number: Flower's number of it; 0: Flower is not asked.
        """
        run.starts += 1
        connection = Connection(self.link, "app", self._asks)
        with self.coordinator("app") as outcome:
            context = Context(1, 0, {}, RecordDict(), {"run": run.id})
            with suppress(SottovoceError, httpx.TransportError, OSError):
                deployed_coordinator.main(connection, context)  # type: ignore[arg-type]
        if number:
            self.flower.process_ended(number)
        progress = RunFolder(HOME / "runs" / run.id).progress()
        run.state = "killed" if outcome.killed else str(progress["state"])
        run.said = str(progress.get("message", ""))
        expect("bug" not in run.said, f"the coordinator says: {run.said}")

    def play_until(self, what: str, visit: int = 1, *, banded: bool = False) -> Run:
        """Prepare a state: a new run whose coordinator is killed at the `visit`-th effect that begins with `what`."""
        left = visit

        def watch(process: Process, effect: str) -> None:
            nonlocal left
            left -= process.machine == COORDINATOR and effect.startswith(what)
            if not left:
                process.ended = Fault.KILLED
                raise Killed(Fault.KILLED)

        run = self.begin(banded=banded)
        assert run is not None
        self.flower.begin()
        self.processes.on_effect = watch
        self.work(run)
        self.processes.on_effect = self.link.beside
        expect(run.state == "killed", f"no state before '{what}': the run is {run.state} {run.said}")
        return run

    def _asks(self) -> None:
        """The coordinator's app asks something of the SuperLink: others may run, and its people may act."""
        self.turns.hand_over()
        if not self._signed and (change := self.choices.happens("signed anew", len(SETTINGS), self.rates.signed)):
            self.sign_anew(change)

    def sign_anew(self, change: int) -> None:
        """The coordinator signs another agreement, and some labels join it.

        Args:
            change: of its settings, which of `SETTINGS`, from 1.
        """
        self._signed = True
        app, self.processes.running = self.processes.running, None
        with self.coordinator("sign"), suppress(OSError):
            home = ServerHome.open(HOME)
            text = home.settings_file.read_text(encoding="utf-8")
            for before, after in SETTINGS[change - 1]:
                text = text.replace(before, after)
            write_text(home.settings_file, text)
            home.sign()
        for label in LABELS:
            if not self.choices.happens(f"{label} does not join anew", 1, 0.3):
                self.disk.thaw(label)
                with self.processes.process(f"{label} join", label):
                    home = LabelHome.open(Path(f"{ROOT}/{label}"))
                    pin(home, HOME / "signed" / "federation.toml", Policy.from_toml(home.policy_file))
        self.processes.running = app

    def play(self, runs: Sequence[Run] = ()) -> list[Run]:
        """From the prepared state to the end: with faults, then without until all runs are over.

        Args:
            runs: runs under way; none: a new one.
        """
        self.runs = list(runs)
        if change := self.choices.happens("signed before", len(SETTINGS), self.rates.signed_before):
            self.sign_anew(change)
        if self.runs:
            self._go_on()
        for _ in range(MOST_STARTS):  # people try again
            if self.runs or self.begin():
                break
            if self._down:
                self.start_server()
        after = self.choices.happens("another run", LATEST, self.rates.another)
        more = [partial(self._another, after)] if after else []
        for _ in range(MOST_STARTS):
            self._take_turns([*self._begun(), *more])
            more = []
            if all(run.over for run in self.runs):
                break
            self._go_on()
        self._end()
        return self.runs

    def _go_on(self) -> None:
        """Runs go on: the server starts again, or people resume them one by one."""
        if self._down or self.choices.happens("server starts", 1, 0.5):
            self.start_server()
            return
        for run in self.runs:
            if not run.over and not self._down:
                self.resume(run)

    def _take_turns(self, jobs: Sequence[Callable[[], None]]) -> None:
        if len(jobs) == 1:
            jobs[0]()
        elif jobs:
            self.turns.run(jobs)

    def _begun(self) -> list[Callable[[], None]]:
        """The processes of all runs that were submitted."""
        by_id = {run.id: run for run in self.runs}
        return [partial(self._until_tired, by_id[run], number) for number, run in self.flower.begin()]

    def _another(self, after: int) -> None:
        """People begin another run while one is under way, after a number of turns."""
        for _ in range(after):
            self.turns.hand_over()
        if not self._down and self.begin():
            for job in self._begun():
                job()

    def _until_tired(self, run: Run, number: int) -> None:
        """A run's process works, and people resume the run whenever it breaks off, a number of times."""
        while True:
            self.work(run, number)
            if run.over or self._down or run.starts > MOST_STARTS:
                break
            if self.choices.happens("server stops", 1, 0.25):
                self.stop_server()
                break
            if not self.resume(run) or self._down:
                break
            number = next(number for number, name in self.flower.begin(run.id))

    def _end(self) -> None:
        """What is left to do where nothing goes wrong any more."""
        self.choices.quiet = True
        self.processes.clock.sleep(100.0)  # what was late arrives
        self.start_server()
        for job in self._begun():
            job()
        for run in self.runs:
            self._end_run(run)

    def _end_run(self, run: Run) -> None:
        for _ in range(MOST_STARTS):
            if run.over:
                break
            if self.resume(run):
                self._take_turns(self._begun())
        self.link.deliver()
        for label in LABELS:
            self.witness.ledger(label)
        over = run.over or run.said.startswith(LAST_WORDS)
        expect(over, f"the run does not end: {run.state}, {run.said}")
        expect(run.said or run.state == "published", "the run ends without a word")
        folder = RunFolder(HOME / "runs" / run.id)
        progress = folder.progress()
        if progress["state"] in OVER and folder.keeper.ending.read():
            self.work(run)  # who was away is told
            history = progress.get("history", {})
            # A label whose advert was lost is unknown to the coordinator; it gives up after 30 days.
            for label in [promise["label"] for promise in history.get("promises", [])]:
                expect(run.id not in self.witness.open_runs(label), f"{label} keeps the promise of a run that is over")
                expect(run.id not in self.witness.secrets(label), f"{label} keeps the keys of a run that is over")
