"""What became of each mutant: kept in a file between runs, and summed up in a table for readers."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from operators import Mutant

HEAD = (
    "| module | mutants | tried | killed | survived | of them with a reason | last on |",
    "|---|--:|--:|--:|--:|--:|---|",
)
KILLED, SURVIVED = "killed", "survived"


@dataclass(frozen=True)
class Row:
    """A module's line of the table: how many mutants there are, were tried, and what became of them."""

    module: str
    mutants: int
    tried: int
    killed: int
    survived: int
    explained: int
    last: str

    def __str__(self) -> str:
        numbers = (self.mutants, self.tried, self.killed, self.survived, self.explained)
        return f"| `{self.module}` | {' | '.join(f'{number:,}' for number in numbers)} | {self.last} |"

    @classmethod
    def total(cls, rows: "Iterable[Row]") -> "Row":
        """Of some modules together."""
        rows = list(rows)
        numbers = (sum(getattr(row, each.name) for row in rows) for each in fields(cls)[1:-1])
        return cls("all", *numbers, max((row.last for row in rows), default=""))

    @classmethod
    def parse(cls, line: str) -> "Row":
        module, *numbers, last = (cell.strip() for cell in line.strip("|\n ").split("|"))
        return cls(module.strip("`"), *(int(number.replace(",", "")) for number in numbers), last)


class Results:
    """Results of this and former runs.

    Args:
        file: to which each result is added at once, so that a run that is broken off loses nothing.
        reasons: why mutants survive, by "module | name".
        seconds: that the tests of a mutant may take; who survived fewer may not survive these.
    """

    def __init__(self, file: Path, reasons: Mapping[str, str], *, seconds: float) -> None:
        self.reasons = reasons
        self._seconds = seconds
        self._file = file
        lines = file.read_text().splitlines() if file.exists() else []
        self._known: dict[str, dict[str, Any]] = {line["key"]: line for line in map(json.loads, lines)}

    def of(self, module: str, mutant: Mutant, tests: str, ids: Collection[str]) -> str | None:
        """`KILLED`, `SURVIVED`, or None where nothing is known that still holds.

        Args:
            module: of the mutant, relative to the repository.
            mutant: which.
            tests: digest of the module's tests: what survived others without a reason may not survive these.
            ids: of the module's tests; what one killed that is gone may live again.
        """
        line = self._known.get(_key(module, mutant))
        if line is None:
            return None
        if line["result"] == SURVIVED:
            same = line["tests"] == tests and line["seconds"] >= self._seconds
            return SURVIVED if same or f"{module} | {mutant.name}" in self.reasons else None
        return KILLED if line["by"] is None or line["by"] in ids else None

    def add(self, module: str, mutant: Mutant, result: str, *, tests: str, by: str | None) -> None:
        """Keep a result, and the test that found the mutant."""
        line = {"key": _key(module, mutant), "result": result, "by": by, "on": str(datetime.now(UTC).date())}
        line |= {"tests": tests, "seconds": self._seconds}
        self._known[line["key"]] = line  # type: ignore[index]
        self._file.parent.mkdir(exist_ok=True)
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def row(self, module: str, mutants: Iterable[Mutant], tests: str, ids: Collection[str]) -> Row:
        """A module's row of the table."""
        mutants = list(mutants)
        found = {mutant.name: self.of(module, mutant, tests, ids) for mutant in mutants}
        counts = Counter(found.values())
        survivors = [f"{module} | {name}" for name, result in found.items() if result == SURVIVED]
        explained = sum(name in self.reasons for name in survivors)
        dates = [self._known[_key(module, mutant)]["on"] for mutant in mutants if found[mutant.name]]
        killed, survived = counts[KILLED], counts[SURVIVED]
        return Row(module, len(mutants), killed + survived, killed, survived, explained, max(dates, default=""))


def write_table(page: Path, rows: Iterable[Row], modules: Collection[str]) -> None:
    """Put rows into a page's table, in the place of former rows of the same modules; rows of no module go, and
    the last one sums them up."""
    lines = page.read_text().splitlines()
    start = lines.index(HEAD[0])
    end = next((i for i in range(start, len(lines)) if not lines[i].startswith("|")), len(lines))
    old = {row.module: row for row in map(Row.parse, lines[start + 2 : end])}
    new = old | {row.module: row for row in rows if row.tried}
    chosen = [new[module] for module in modules if module in new]
    table = map(str, [*chosen, Row.total(chosen)])
    page.write_text("\n".join([*lines[:start], *HEAD, *table, *lines[end:]]) + "\n")


def _key(module: str, mutant: Mutant) -> str:
    return f"{mutant.digest} {module} | {mutant.name}"
