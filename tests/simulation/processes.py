"""The processes of the simulation, and its clock: which one runs, where it is killed, what it sees as the time."""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import blake2b, shake_128
from types import TracebackType
from typing import Any, Protocol, Self

from filelock import Timeout
from tests.simulation.disk import Disk, File

FIRST_NUMBER = 1 << 23
"""Number of the first simulated process, above any that the operating system gives out."""
LONGEST_WAIT = 20.0
"""Time after which a process that waits for a lock is killed, seconds."""
BEGINNING = datetime(2030, 1, 1, tzinfo=UTC)


class Fault(StrEnum):
    """What happens at an effect of a process."""

    KILLED = "is killed"
    POWER = "loses power"
    FULL = "finds the disk full once"
    STAYS_FULL = "finds the disk full from there on"
    SHORT = "finds the disk full after half of a write"
    TORN = "is killed half-way through a write"
    STUCK = "cannot write to its ledger"


class Killed(BaseException):
    """The process is no more; `fault` says how it ended."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault


@dataclass(eq=False)
class Process:
    """One process.

    Args:
        name: for the trace.
        machine: whose disk it writes to.
        number: its process number.
        fault: what strikes it, and at which of its effects, from 1.
        seed: of its randomness.
    """

    name: str
    machine: str
    number: int
    fault: tuple[Fault, int] | None = None
    seed: bytes = b""
    effects: int = 0
    last_write: int = 0
    commits: int = 0
    struck: bool = False
    ended: Fault | None = None
    beside: int = 0
    """Effect at which its label is handed another message; 0: none."""
    locks: set[File] = field(default_factory=set)
    _drawn: int = 0

    def random(self, size: int) -> bytes:
        """Random bytes for this process: from its seed, so that a schedule replays to the byte."""
        self._drawn += 1
        return shake_128(self.seed + self._drawn.to_bytes(4)).digest(size)


class Clock:
    """Seconds of the simulation. `skew` is how far the wall clocks are off, `step` the smallest one that they show."""

    def __init__(self) -> None:
        self.now = 0.0
        self.skew = 0.0
        self.step = 0.0
        self.on_sleep: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic

    @property
    def shown(self) -> float:
        """What wall clocks show, seconds since `BEGINNING`."""
        return (self.now // self.step * self.step if self.step else self.now) + self.skew

    def time(self) -> float:
        return BEGINNING.timestamp() + self.shown

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.on_sleep()

    def datetime(self, zone: Any = None) -> datetime:
        return (BEGINNING + timedelta(seconds=self.shown)).astimezone(zone)


class Processes:
    """All processes. Its `effect` is called before each change of a disk, a ledger, or of what others hear.

    Args:
        trace: told of every effect; None: nobody is.
        seed: of all randomness.
    """

    def __init__(self, trace: Callable[[str], None] | None = None, seed: str = "") -> None:
        self.clock = Clock()
        self.running: Process | None = None
        self.threads = {threading.get_ident()}
        """Threads that take turns in this simulation."""
        self.on_effect: Callable[[Process, str], None] = lambda process, what: None
        self._trace = trace
        self._alive: dict[int, Process] = {}
        self._seed = seed
        self._count: Counter[str] = Counter()

    @contextmanager
    def process(
        self, name: str, machine: str, fault: tuple[Fault, int] | None = None, seed: bytes = b""
    ) -> Iterator[Process]:
        """What the block does, this process does. Afterwards it is gone, and what it locked is free.

        Args:
            name: for the trace.
            machine: whose disk it writes to.
            fault: what strikes it.
            seed: of its randomness; empty: from its name, and how often there was one of that name.
        """
        self._count[name] += 1
        seed = seed or f"{self._seed}/{name}/{self._count[name]}".encode()
        number = FIRST_NUMBER + int.from_bytes(blake2b(seed, digest_size=2).digest())
        while number in self._alive:
            number += 1
        process = self._alive[number] = Process(name, machine, number, fault, seed)
        before, self.running = self.running, process
        try:
            yield process
        finally:
            self.running = before
            del self._alive[process.number]
            for file in process.locks:
                file.holder = None

    def end_all(self, machine: str, how: Fault) -> None:
        """End all processes of a machine; each notices before its next effect."""
        for process in self._alive.values():
            if process.machine == machine and not process.ended:
                process.ended = how

    def effect(self, what: str) -> str | None:
        """Count an effect of the running process.

        Returns:
            "full" or "short" if the disk fails; "torn" if the process ends after half of this write.

        Raises:
            Killed: this is where the process ends.
        """
        process = self.running
        if process is None:
            return None
        if process.ended:  # what `finally` blocks do after the end has no effect
            raise Killed(process.ended)
        process.effects += 1
        if what.startswith("write"):
            process.last_write = process.effects
        process.commits += what == "commit"
        if self._trace:
            self._trace(f"{process.name} #{process.effects}: {what}")
        self.on_effect(process, what)
        failed = self._strike(process, what) if process.fault else None
        process.struck = process.struck or failed is not None
        return failed

    def _strike(self, process: Process, what: str) -> str | None:
        """What `effect` returns where a fault is to strike."""
        assert process.fault is not None
        fault, at = process.fault
        if fault is Fault.STUCK:
            return "full" if what == "commit" else None
        if process.effects < at:
            return None
        if fault is Fault.TORN:
            if not what.startswith("write"):
                return None
            process.ended = Fault.KILLED
            return "torn"
        if fault is Fault.STAYS_FULL or process.effects == at:
            if self._trace:
                self._trace(f"{process.name} {fault}")
            if fault in (Fault.KILLED, Fault.POWER):
                process.ended, process.struck = fault, True
                raise Killed(fault)
            return "short" if fault is Fault.SHORT and what.startswith("write") else "full"
        if fault is Fault.SHORT and process.effects == at + 1:
            return "full"
        return None

    def now(self) -> float:
        """What wall clocks show, seconds since 1970."""
        return self.clock.time()

    def random(self, size: int) -> bytes:
        """`os.urandom`."""
        return (
            self.running.random(size) if self.running else blake2b(self._seed.encode(), digest_size=64).digest()[:size]
        )

    def number(self) -> int:
        """`os.getpid`."""
        return self.running.number if self.running else os.getppid()

    def kill(self, number: int, signal: int) -> None:
        """`os.kill` with signal 0: whether a process is alive."""
        if number not in self._alive:
            raise ProcessLookupError(number)


class Scene(Protocol):
    """What the patched product acts in at the moment."""

    processes: Processes
    disk: Disk


def lock_class(scene: Scene) -> type:
    """What stands for `FileLock`: the same, for the simulation's processes."""

    class Lock:
        def __init__(self, path: Any, timeout: float = -1, mode: int = 0o644) -> None:
            self._path, self._timeout, self._mode = os.fspath(path), timeout, mode
            self._file: File | None = None

        def __enter__(self) -> Self:
            processes, disk = scene.processes, scene.disk
            started = processes.clock.monotonic()
            while True:
                handle = disk.open(self._path, os.O_CREAT, self._mode)
                file = disk.node(handle)
                disk.close(handle)
                assert isinstance(file, File)
                if file.holder is None:
                    file.holder = self
                    self._file = file
                    if processes.running:
                        processes.running.locks.add(file)
                    return self
                waited = processes.clock.monotonic() - started
                if 0 <= self._timeout <= waited:
                    raise Timeout(self._path)
                if waited > LONGEST_WAIT and processes.running:  # the holder waits for this process: it is killed
                    processes.running.ended = Fault.KILLED
                    raise Killed(Fault.KILLED)
                processes.clock.sleep(0.05)

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None:
            if self._file is not None:
                self._file.holder = None
                if scene.processes.running:
                    scene.processes.running.locks.discard(self._file)

    return Lock
