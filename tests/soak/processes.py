"""Services as systemd keeps them (docs/deploy/*.service), and the processes that each of them consists of."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

UNIT = "SOAK_UNIT"
"""Environment variable that every process of a service inherits: what systemd's control group is."""
RESTART_SECONDS, STOP_SECONDS = 5.0, 30.0
"""`RestartSec=` and `TimeoutStopSec=` of the units."""
KINDS = {
    "superexec": b"flower_superexec",
    "app": b"flwr_serverapp",
    "node": b"\0node\0",
    "answering": b"\0superexec\0",
    "warm": b"\0warm\0",
}
"""Words on the command line of each kind of process; a label's answers are forks of its warm process."""


@dataclass(frozen=True)
class Process:
    """A process, and what it is within its service."""

    number: int
    kind: str


def parent_of(number: int) -> int:
    with suppress(OSError):
        return int((Path("/proc") / str(number) / "stat").read_text().rpartition(")")[2].split()[1])
    return 0


@dataclass
class Unit:
    """A service that is restarted whenever it ends.

    Args:
        name: of the service.
        command: what is run.
        environment: variables beside this process's own.
        log: file for what it prints.
    """

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    starts: int = 0
    wanted: bool = False
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)
    _restart_at: float = 0.0

    def start(self) -> None:
        self.wanted = True
        self.starts += 1
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                env={**os.environ, **self.environment, UNIT: self.name},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def tick(self) -> None:
        """What systemd does: a service that has ended loses all its processes, and is started again."""
        if not self.wanted:
            return
        if self._process is not None and self._process.poll() is not None:
            self._process = None
            self._sweep()
            self._restart_at = time.monotonic() + RESTART_SECONDS
        if self._process is None and time.monotonic() >= self._restart_at:
            self.start()

    def stop(self) -> None:
        """As `systemctl stop`."""
        self.wanted = False
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        self._sweep()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _sweep(self) -> None:
        for process in self.processes():
            with suppress(ProcessLookupError):
                os.kill(process.number, signal.SIGKILL)

    def processes(self) -> Iterator[Process]:
        """All of its processes that are alive."""
        mark = f"{UNIT}={self.name}".encode()
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit() or int(folder.name) == os.getpid():
                continue
            with suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    yield Process(int(folder.name), self._kind(int(folder.name)))

    def _kind(self, number: int) -> str:
        if self._process is not None and number == self._process.pid:
            return "main"
        line = _line(number)
        kind = next((kind for kind, words in KINDS.items() if words in line), "other")
        return "answer" if kind == "warm" and KINDS["warm"] in _line(parent_of(number)) else kind


def _line(number: int) -> bytes:
    with suppress(OSError):
        return (Path("/proc") / str(number) / "cmdline").read_bytes()
    return b""


def sottovoce(*arguments: object) -> list[str]:
    """The command line of `sottovoce ARGUMENTS`."""
    return [sys.executable, "-m", "sottovoce", *map(str, arguments)]
