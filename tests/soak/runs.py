"""Keeps a run going: begins one, resumes it where a command says so, ends it for good where it cannot be resumed."""

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.conftest import Forked
from tests.soak.federation import STYLES, Federation
from tests.soak.processes import Process

from sottovoce_server.home.runs import RunFolder

ROUNDS = 2
EPSILON = 0.5
SETTLE_SECONDS = 25.0
"""Time after which a run that no process works on is taken in hand, seconds: its server may just be resuming it."""
MOST_RESUMPTIONS = 2
IN_VAIN = ("ended for good", "nothing to resume", "signed again")
"""What a run or a command says where resuming it cannot help."""
LONGEST = 3600.0
"""Time within which a run is over, seconds: beyond it, somebody hangs."""
LONGEST_COMMAND = 1200.0


@dataclass
class Runs:
    """The run under way, and what came of earlier ones.

    Args:
        federation: who trains.
        on_over: called with each run that is over, and its state.
        complain: called with what must not be.
        timeout: seconds that a run waits for labels to connect, and for an answer.
    """

    federation: Federation
    on_over: Callable[[RunFolder, str], None]
    complain: Callable[[str], None]
    timeout: float = 120.0
    ends: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    """What commands and runs said on failing."""
    resumed: int = 0
    longest: float = 0.0
    folder: RunFolder | None = None
    publishing_since: float | None = None
    _command: Forked | None = None
    _known: set[str] = field(default_factory=set)
    _began: float = 0.0
    _command_began: float = 0.0
    _idle_since: float | None = None
    _attempts: int = 0
    _ending: bool = False
    _next: float = 0.0

    def processes(self) -> list[Process]:
        """Of its command, if one is under way."""
        return [Process(self._command.pid, "command")] if self._command and self._command.alive() else []

    @property
    def idle(self) -> bool:
        """Whether no run is under way."""
        return self.folder is None and self._command is None

    @property
    def at_work(self) -> bool:
        """Whether a run works with its labels, and does not wait for them to connect."""
        if self.folder is None:
            return False
        progress = self.folder.progress()
        state = progress["state"]
        return state in ("training", "publishing") or (
            state == "waiting" and progress["connected"] >= len(self.federation.members)
        )

    def tick(self, begin: bool = True) -> None:
        """Look what became of the run, and do what is due; a new one only with `begin`."""
        now = time.monotonic()
        if self._command is not None and not self._command.alive():
            self._heard(self._command)
            self._command = None
        if self._command is not None and now - self._command_began > LONGEST_COMMAND:
            self.complain(f"a command does not end within {LONGEST_COMMAND:g} s")
            self._command.end()
        if self.folder is None:
            self._find()
        if self.folder is None:
            if self._command is None and begin and now >= self._next:
                self._began, self._attempts, self._ending = now, 0, False
                rounds = ("--rounds", ROUNDS, "--epsilon", EPSILON)
                self._start("server", "train", "--classes", STYLES, *rounds, *self._waits())
            return
        if now - self._began > LONGEST:
            self.complain(f"run {self.folder.run[:8]} is not over after {LONGEST:g} s: {self.folder.progress()}")
            self._began = now
        self._look(self.folder, now)

    def _waits(self) -> tuple[object, ...]:
        home = ("--home", self.federation.home("coordinator"))
        return ("--patience", self.timeout, "--timeout", self.timeout, *home, "--json")

    def _start(self, *arguments: object) -> None:
        self._command = self.federation.command(*arguments)
        self._command_began = time.monotonic()
        self._idle_since = None

    def _find(self) -> None:
        folders = {folder.run: folder for folder in RunFolder.all(self.federation.server)}
        for run in folders.keys() - self._known:
            self.folder = folders[run]
        self._known |= folders.keys()

    def _look(self, folder: RunFolder, now: float) -> None:
        state = folder.progress()["state"]
        if state in ("publishing", "published") and self.publishing_since is None:
            self.publishing_since = now
        if self._command is not None:
            return
        if state in ("published", "ended"):
            self._over(folder, state)
            return
        if folder.under_way:
            self._idle_since = None
            return
        if self._idle_since is None:
            self._idle_since = now
        if now - self._idle_since < SETTLE_SECONDS or self.federation.healthy("superlink") is None:
            return
        home = ("--home", self.federation.home("coordinator"))
        if self._attempts < MOST_RESUMPTIONS:
            self._attempts += 1
            self.resumed += 1
            self._start("server", "train", "--resume", folder.run, *self._waits())
        else:
            self._start("server", "end", folder.run, "--yes", *home)

    def _heard(self, command: Forked) -> None:
        """A command that failed has said why, unless it was killed."""
        code = command.wait()
        words = command.stderr.strip()
        if "Traceback" in words or "Traceback" in command.stdout:
            self.complain(f"a command ended in a traceback: {words[-2000:]}")
        if code > 0:
            said = " ".join(words.split("Error:")[-1].split())
            self.messages[said[:100]] += 1
            if "Error:" not in words:
                self.complain(f"a command ended with {code} and no word: {words[-500:]!r}")
            if any(words in said for words in IN_VAIN):
                self._attempts, self._idle_since = MOST_RESUMPTIONS, 0.0
        if self.folder is None:
            self._next = time.monotonic() + 5

    def _over(self, folder: RunFolder, state: str) -> None:
        self.longest = max(self.longest, time.monotonic() - self._began)
        self.ends[state] += 1
        self.folder, self._idle_since = None, None
        self.on_over(folder, state)
        self.publishing_since = None


def described(folder: RunFolder) -> dict[str, Any]:
    """What `server runs` would show of a run, and its rounds."""
    progress = dict(folder.progress())
    return json.loads(json.dumps({"run": folder.run, **progress}, default=str))
