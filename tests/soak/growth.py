"""How memory, open files, homes and databases grow with the number of runs."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.federation import LABELS, Federation

LEFT = (r"/runs/[0-9a-f]{32}\.(json|model)$", r"/\.[^/]+\.\d+\.[^/]+$", r"\.tmp$", r"\.partial")
"""What is not there when all runs are over: a label's secret state, and files of writes that were killed."""
LONG_LIVED = ("main", "node", "answering", "warm", "superexec")
"""Kinds of processes that live as long as their service."""
MEMORY_BOUND = 64.0
"""MiB that a long-living process may grow by after its first run."""
STRANGERS_BOUND = 256.0
"""MiB that it may grow by once, when strangers open thousands of connections: freed memory stays with the process."""
FILES_BOUND = 64
"""Open files likewise."""
HOME_BOUND = 1024.0
"""KiB that a home, with its databases, may grow by for each run."""


@dataclass
class Seen:
    """Of one process: memory (MiB) and open files after each run."""

    kind: str
    memory: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)


@dataclass
class Growth:
    """Measures after each run.

    Args:
        federation: whose processes and homes.
    """

    federation: Federation
    processes: dict[tuple[int, str], Seen] = field(default_factory=dict)
    homes: dict[str, list[float]] = field(default_factory=dict)
    """Size of each home after each run, KiB."""
    databases: dict[str, list[float]] = field(default_factory=dict)

    def measure(self) -> None:
        for name, unit in self.federation.units.items():
            for process in unit.processes():
                if process.kind not in LONG_LIVED:
                    continue
                folder = Path("/proc") / str(process.number)
                with suppress(OSError, ValueError, StopIteration):
                    key = process.number, f"{name} {process.kind}"
                    lines = (folder / "status").read_text().splitlines()
                    memory = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
                    seen = self.processes.setdefault(key, Seen(key[1]))
                    seen.memory.append(memory / 1024)
                    seen.files.append(sum(1 for _ in (folder / "fd").iterdir()))
        for name in (*LABELS, "coordinator", "registry"):
            home = self.federation.home(name)
            self.homes.setdefault(name, []).append(sum(map(_size, home.rglob("*"))) / 1024)
            for database in home.rglob("*.sqlite"):
                key = f"{name}/{database.name}"
                beside = (database, *database.parent.glob(f"{database.name}-*"))
                self.databases.setdefault(key, []).append(sum(map(_size, beside)) / 1024)

    def figures(self) -> dict[str, object]:
        """Growth per run of each home and database (KiB), and the most that a process has grown by."""
        grown = {
            seen.kind: round(seen.memory[-1] - seen.memory[1], 1)
            for seen in sorted(self.processes.values(), key=lambda seen: seen.memory[-1] - seen.memory[0])
            if len(seen.memory) > 2
        }
        files = {
            seen.kind: seen.files[-1] - seen.files[1]
            for seen in sorted(self.processes.values(), key=lambda seen: seen.files[-1] - seen.files[0])
            if len(seen.files) > 2
        }
        longest = max((len(seen.memory) for seen in self.processes.values()), default=0)
        return {
            "memory_mib": grown,
            "open_files": files,
            "longest_life_in_runs": longest,
            "home_kib_per_run": {name: slope(sizes) for name, sizes in self.homes.items()},
            "home_kib": {name: round(sizes[-1]) for name, sizes in self.homes.items()},
            "database_kib_per_run": {name: slope(sizes) for name, sizes in self.databases.items()},
        }

    def beyond(self, memory: float = MEMORY_BOUND) -> list[str]:
        """What grew beyond its bound, in words; that of memory is given in MiB."""
        found = self.figures()
        too_much = []
        for what, bound in (
            ("memory_mib", memory),
            ("open_files", FILES_BOUND),
            ("home_kib_per_run", HOME_BOUND),
        ):
            values = found[what]
            assert isinstance(values, dict)
            too_much += [
                f"{what} of {name} grew by {value}, above {bound:g}" for name, value in values.items() if value > bound
            ]
        return too_much


def slope(values: list[float]) -> float:
    """Of the line that fits best, per value."""
    count = len(values)
    if count < 2:
        return 0.0
    middle, mean = (count - 1) / 2, sum(values) / count
    above = sum((number - middle) * (value - mean) for number, value in enumerate(values))
    return round(above / sum((number - middle) ** 2 for number in range(count)), 2)


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_blocks * 512 if path.is_file() else 0
    return 0
