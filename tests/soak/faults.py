"""Faults of a running federation, drawn at random: what is killed, paused, filled or cut off, and for how long."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.federation import DISKS, LABELS, Federation
from tests.soak.processes import Process

FILLER = ".filler"
SPARE = 4096
"""Bytes that a full disk has left: an empty file may be made, and nothing written to it."""
PAUSES = (2.0, 40.0)
"""Shortest and longest pause, seconds: heartbeats come every 30 s, and a node is away after two."""
CUT_SECONDS = (20.0, 40.0)
"""Time that the network is silent, seconds."""
FULL_SECONDS = (3.0, 20.0)
"""Time that a disk is full, seconds."""
WEIGHTS = {
    "kill a process of the coordinator": 8,
    "kill a process of a label": 16,
    "kill all of the coordinator": 2,
    "kill all of a label": 4,
    "kill a command": 4,
    "kill the registry": 4,
    "pause a process of the coordinator": 10,
    "pause a process of a label": 20,
    "pause the registry": 2,
    "fill the coordinator's disk": 6,
    "fill a label's disk": 12,
    "fill the registry's disk": 2,
    "silence the network": 4,
    "reset all connections": 6,
}
"""How often each is drawn."""


@dataclass
class Faults:
    """Injects faults, and ends those that last.

    Args:
        federation: who is hit.
        random: draws them.
        targets: processes of commands under way.
    """

    federation: Federation
    random: random.Random
    targets: Callable[[], list[Process]]
    counts: Counter[str] = field(default_factory=Counter)
    hit: dict[str, float] = field(default_factory=dict)
    """When each service was last hit, or recovered."""
    _lasting: list[tuple[float, str, Callable[[], object]]] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.counts.total()

    def tick(self) -> None:
        """End faults whose time is over."""
        now = time.monotonic()
        for ending in [each for each in self._lasting if each[0] <= now]:
            self._lasting.remove(ending)
            ending[2]()
            self.hit[ending[1]] = now

    def end_all(self) -> None:
        """End all that last."""
        self._lasting = [(0.0, name, undo) for _, name, undo in self._lasting]
        self.tick()

    def inject(self) -> str:
        """One fault: what it was, in words."""
        while True:
            (drawn,) = self.random.choices(list(WEIGHTS), list(WEIGHTS.values()))
            verb, _, rest = drawn.partition(" ")
            done = {
                "kill": self._kill,
                "pause": self._pause,
                "fill": self._fill,
                "silence": self._silence,
                "reset": self._reset,
            }[verb](rest)
            if done:
                self.counts[done.partition(":")[0]] += 1
                return done

    def undisturbed(self, since: float) -> set[str]:
        """Labels that nothing has happened to since a time, neither to them nor to the way to the release."""
        shared = ("coordinator", "network")
        if any(self.hit.get(name, 0.0) > since or self._lasts_still(name) for name in shared):
            return set()
        return {name for name in LABELS if self.hit.get(name, 0.0) <= since and not self._lasts_still(name)}

    def _lasts_still(self, name: str) -> bool:
        return any(unit == name for _, unit, _ in self._lasting)

    # Each kind: what was done, or "" where there is nothing to do it to --------------------------------------------

    def _unit(self, what: str) -> str:
        if "label" in what:
            return self.random.choice(self.federation.members)
        return "registry" if "registry" in what else "coordinator"

    def _processes(self, what: str) -> tuple[str, list[Process]]:
        if what == "a command":
            return "command", self.targets()
        unit = self._unit(what)
        found = list(self.federation.units[unit].processes())
        if what.startswith("all"):
            return unit, found
        kinds = sorted({process.kind for process in found})
        kind = self.random.choice(kinds) if kinds else ""
        return unit, [self.random.choice([process for process in found if process.kind == kind])] if kinds else []

    def _kill(self, what: str) -> str:
        unit, processes = self._processes(what)
        killed = [each for each in processes if self.federation.signal(each.number, signal.SIGKILL)]
        if not killed:
            return ""
        self.hit[unit] = time.monotonic()
        return f"kill {self._named(what, killed)}: {unit}"

    def _pause(self, what: str) -> str:
        unit, processes = self._processes(what)
        paused = [each for each in processes if self.federation.signal(each.number, signal.SIGSTOP)]
        if not paused:
            return ""
        seconds = self.random.uniform(*PAUSES)

        def go_on() -> None:
            for each in paused:
                self.federation.signal(each.number, signal.SIGCONT)

        self._lasts(unit, seconds, go_on)
        return f"pause {self._named(what, paused)}: {unit}, {seconds:.0f} s"

    def _named(self, what: str, processes: list[Process]) -> str:
        side = "label" if "label" in what else "registry" if "registry" in what else "coordinator"
        if what == "a command":
            return what
        return f"all of a {side}" if what.startswith("all") else f"{side} {processes[0].kind}"

    def _fill(self, what: str) -> str:
        unit = self._unit(what)
        if self._lasts_still(unit):
            return ""
        disk = self.federation.disk(unit)
        filler = disk / FILLER
        handle = os.open(filler, os.O_CREAT | os.O_WRONLY)
        try:
            os.posix_fallocate(handle, 0, max(1, _free(disk) - SPARE))
        finally:
            os.close(handle)
        seconds = self.random.uniform(*FULL_SECONDS)
        self._lasts(unit, seconds, lambda: filler.unlink(missing_ok=True))
        side = "label" if unit in LABELS else unit
        return f"fill the disk of a {side}: {unit} ({DISKS[unit]} MiB), {seconds:.0f} s"

    def _silence(self, _: str) -> str:
        if self._lasts_still("network"):
            return ""
        seconds = self.random.uniform(*CUT_SECONDS)
        if not self._network(signal.SIGUSR1):
            return ""
        self._lasts("network", seconds, lambda: self._network(signal.SIGUSR1))
        return f"silence the network: {seconds:.0f} s"

    def _reset(self, _: str) -> str:
        self.hit["network"] = time.monotonic()
        return "reset all connections" if self._network(signal.SIGUSR2) else ""

    def _network(self, which: signal.Signals) -> bool:
        return any(self.federation.signal(each.number, which) for each in self.federation.units["network"].processes())

    def _lasts(self, unit: str, seconds: float, undo: Callable[[], object]) -> None:
        self.hit[unit] = time.monotonic()
        self._lasting.append((time.monotonic() + seconds, unit, undo))


def _free(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize
