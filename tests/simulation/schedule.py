"""One schedule: a history of the whole federation from a prepared state to its end, checked after every step."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import httpx
from flwr.app import Context, RecordDict
from tests.simulation.choices import Choices
from tests.simulation.disk import ROOT, Disk
from tests.simulation.network import Connection, Rates, SuperLink, fault_of
from tests.simulation.processes import Fault, Killed, Process, Processes
from tests.simulation.turns import Turns
from tests.simulation.witness import Witness, expect
from tests.simulation.world import CLASSES, COORDINATOR, LABELS, Stage

from sottovoce.errors import ConfigurationError, SottovoceError
from sottovoce.files import write_text
from sottovoce.run.request import RunRequest
from sottovoce_client.flower.client_app import client_app
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.pinning import pin
from sottovoce_client.home.policy import Policy
from sottovoce_client.rounds.label import Label
from sottovoce_server.flower import deployed_coordinator
from sottovoce_server.home.coordinator_home import ServerHome
from sottovoce_server.home.runs import OVER, RunFolder
from sottovoce_server.rounds.submission import ordered, resumed

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
CONTROL = SimpleNamespace(runs=list)
HOME = Path(f"{ROOT}/{COORDINATOR}")


@dataclass
class Run:
    """A run as the coordinator's people see it: its id, and how it ended so far."""

    id: str
    state: str = "submitted"
    said: str = ""
    starts: int = 0


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
        self.processes = stage.processes = Processes(trace, salt)
        self.disk = stage.disk = disk.clone(self.processes, stage.frozen)
        self.choices, self.rates = choices, rates
        self.effects = effects
        self._signing = False
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
            if killed.fault is Fault.POWER:
                self.power_cut(COORDINATOR)
        self.witness.journal()

    def begin(self) -> Run | None:
        """Create a run; None if the command that does so ends before it has."""
        made = None
        with self.coordinator("train"):
            try:
                home = ServerHome.open(HOME)
                order = ordered(
                    home.invitation().agreement,
                    classes=CLASSES,
                    name=None,
                    patience=TIMEOUT,
                    timeout=TIMEOUT,
                    request=RunRequest(rounds=ROUNDS, init="none", seed=7),
                )
                made = Run(RunFolder.create(home, order).run)
            except OSError:
                return None
        return made

    def resume(self, run: Run) -> bool:
        """Order a run to resume; whether that could be done."""
        done = False
        with self.coordinator("resume"):
            try:
                folder = resumed(ServerHome.open(HOME), CONTROL, run.id, patience=TIMEOUT, timeout=TIMEOUT)  # type: ignore[arg-type]
                folder.forget_progress()
                done = True
            except ConfigurationError as error:
                run.state, run.said = "over", error.message
                expect(error.message in NOT_RESUMED, f"the run cannot be resumed: {error.message}")
            except OSError:
                pass
        return done

    def work(self, run: Run) -> None:
        """The coordinator's app works on a run until it ends, or is ended."""
        run.starts += 1
        connection = Connection(self.link, "app", self._asks)
        with self.coordinator("app") as outcome:
            context = Context(1, 0, {}, RecordDict(), {"run": run.id})
            with suppress(SottovoceError, httpx.TransportError, OSError):
                deployed_coordinator.main(connection, context)  # type: ignore[arg-type]
        progress = RunFolder(HOME / "runs" / run.id).progress()
        run.state = "killed" if outcome.killed else str(progress["state"])
        run.said = str(progress.get("message", ""))
        expect("bug" not in run.said, f"the coordinator says: {run.said}")

    def play_until(self, what: str, visit: int = 1) -> Run:
        """Prepare a state: a new run whose coordinator is killed at the `visit`-th effect that begins with `what`."""
        left = visit

        def watch(process: Process, effect: str) -> None:
            nonlocal left
            left -= process.machine == COORDINATOR and effect.startswith(what)
            if not left:
                process.ended = Fault.KILLED
                raise Killed(Fault.KILLED)

        run = self.begin()
        assert run is not None
        self.processes.on_effect = watch
        self.work(run)
        self.processes.on_effect = self.link.beside
        expect(run.state == "killed", f"no state before '{what}': the run is {run.state} {run.said}")
        return run

    def _asks(self) -> None:
        """The coordinator's app asks something of the SuperLink: others may run, and its people may act."""
        self.turns.hand_over()
        if not self._signing and self.choices.happens("signed anew", 1, self.rates.signed):
            self._signing = True
            self.sign_anew()

    def sign_anew(self) -> None:
        """The coordinator signs another agreement, and some labels join it."""
        app, self.processes.running = self.processes.running, None
        with self.coordinator("sign"), suppress(OSError):
            home = ServerHome.open(HOME)
            text = home.settings_file.read_text(encoding="utf-8")
            write_text(home.settings_file, text.replace("cross_check = true", "cross_check = false"))
            home.sign()
        for label in LABELS:
            if not self.choices.happens(f"{label} does not join anew", 1, 0.3):
                self.disk.thaw(label)
                with suppress(Killed), self.processes.process(f"{label} join", label), suppress(OSError):
                    home = LabelHome.open(Path(f"{ROOT}/{label}"))
                    pin(home, HOME / "signed" / "federation.toml", Policy.from_toml(home.policy_file))
        self.processes.running = app

    def play(self, runs: Sequence[Run] = ()) -> list[Run]:
        """From the prepared state to the end: with faults, then without until all runs are over.

        Args:
            runs: runs under way; none: a new one.
        """
        playing = list(runs) or [run for run in [self.begin()] if run]
        if len(playing) == 1:
            self._until_tired(playing[0])
        else:
            self.turns.run([partial(self._until_tired, run) for run in playing])
        for run in playing:
            self._end(run)
        return playing

    def _until_tired(self, run: Run) -> None:
        """Start or resume a run, and resume it whenever it breaks off, a number of times."""
        if run.starts and not self.resume(run):
            return
        for _ in range(MOST_STARTS):
            self.work(run)
            if run.state in ("published", "over") or not self.resume(run):
                break

    def _end(self, run: Run) -> None:
        """What is left to do where nothing goes wrong any more."""
        self.choices.quiet = True
        self.processes.clock.sleep(100.0)  # what was late arrives
        for _ in range(MOST_STARTS):
            if run.state in ("published", "over"):
                break
            if self.resume(run):
                self.work(run)
        self.link.deliver()
        for label in LABELS:
            self.witness.ledger(label)
        over = run.state in ("published", "over") or run.said.startswith(LAST_WORDS)
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
