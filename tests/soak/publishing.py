"""Publishes each release and pulls it again, while the registry and the commands themselves are killed."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import Forked
from tests.soak.federation import Federation
from tests.soak.processes import Process

MOST_TRIES = 20
PAUSE = 3.0
"""Time before a command that failed is tried again, seconds."""


@dataclass
class Publishing:
    """Releases that wait to be published and pulled, one command at a time.

    Args:
        federation: whose releases.
        complain: called with what must not be.
    """

    federation: Federation
    complain: Callable[[str], None]
    pulled: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    _waiting: list[tuple[str, Path]] = field(default_factory=list)
    _command: Forked | None = None
    _tries: int = 0
    _next: float = 0.0

    def add(self, release: Path) -> None:
        """A release that is to be published."""
        self._waiting.append(("publish", release))
        self._waiting.append(("pull", release))

    @property
    def idle(self) -> bool:
        return not self._waiting and self._command is None

    def processes(self) -> list[Process]:
        return [Process(self._command.pid, "command")] if self._command and self._command.alive() else []

    def tick(self) -> None:
        if self._command is not None:
            if self._command.alive():
                return
            self._heard(self._command)
            self._command = None
        elif self._waiting and time.monotonic() >= self._next:
            self._command = self.federation.command("release", *self._arguments(*self._waiting[0]))

    def _arguments(self, what: str, release: Path) -> tuple[object, ...]:
        root = self.federation.root
        there = ("--authority", root / "authority.pem", "--token-file", root / "publish.token")
        if what == "publish":
            return ("publish", release, "--to", self.federation.registry, *there)
        manifest = json.loads((release / "manifest.json").read_text())
        pulled = root / "pulled"
        shutil.rmtree(pulled, ignore_errors=True)
        there = ("--key", root / "federation.toml", "--out", pulled, *there)
        return ("pull", manifest["name"], "--from", self.federation.registry, *there)

    def _heard(self, command: Forked) -> None:
        code, words = command.wait(), command.stderr.strip()
        what, release = self._waiting[0]
        if "Traceback" in words:
            self.complain(f"release {what} ended in a traceback: {words[-2000:]}")
        if code > 0:
            self.messages[" ".join(words.split("Error:")[-1].split())[:100]] += 1
            if "Error:" not in words:
                self.complain(f"release {what} ended with {code} and no word: {words[-500:]!r}")
        if code == 0:
            self._waiting.pop(0)
            self._tries = 0
            if what == "pull":
                self._compare(release)
            return
        self._tries += 1
        self._next = time.monotonic() + PAUSE
        if self._tries > MOST_TRIES:
            self.complain(f"release {what} failed {MOST_TRIES} times: {words[-500:]}")
            self._waiting.pop(0)
            self._tries = 0

    def _compare(self, release: Path) -> None:
        pulled = self.federation.root / "pulled"
        self.pulled += 1
        for file in release.iterdir():
            if file.name[0] != "." and (pulled / file.name).read_bytes() != file.read_bytes():
                self.complain(f"{file.name} was pulled with other bytes than were published")
