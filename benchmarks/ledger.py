"""What a long life costs: opening a home's ledger and charging a round, by the number of its rows.

The home's diary is as long as it may become, and runs under way have states that name the ledger's head.

python -m benchmarks ledger
"""

import json
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

from sottovoce.canonical import canonical_json
from sottovoce.privacy.events import PoissonGaussian, to_json
from sottovoce_client.budget.known_heads import open_ledger
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.budget.rows import Kind, Row
from sottovoce_client.home.diary import LARGEST
from sottovoce_client.home.label_home import LabelHome

ROWS = (100, 100_000)
STATES, STATE_BYTES = 10, 100_000
REPETITIONS = 20
RUN = b"r" * 16
STEP = PoissonGaussian(0.1, 5.0, 1)


def fill(file: Path, rows: int) -> None:
    """Closed runs of ten rounds each, and at the end an open one."""
    whole = PoissonGaussian(0.1, 5.0, 1000)
    Ledger.create(file).close()
    previous, made = b"sottovoce/ledger/1", []
    for number in range(1, rows + 1):
        block, place = divmod(number - 1, 12)
        kind = Kind.OPEN if number == rows or place == 0 else Kind.CLOSE if place == 11 else Kind.CHARGE
        events = {Kind.OPEN: (whole,), Kind.CHARGE: (STEP,), Kind.CLOSE: ()}[kind]
        run = RUN if number == rows else block.to_bytes(16)
        row = Row(number, "2026-01-01T00:00:00+00:00", kind, run, place if kind is Kind.CHARGE else 0, events)
        previous = row.hash(previous)
        body = canonical_json([to_json(event) for event in events]).decode()
        made.append((number, row.time, kind.value, run.hex(), row.round, body, previous))
    with sqlite3.connect(file) as database:
        database.executemany("INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?)", made)


def remember(home: LabelHome) -> None:
    """A full diary whose first note alone names the ledger's head, and states of runs under way that do."""
    with Ledger(home.ledger_file) as ledger:
        head = ledger.head
    home.diary.closed(RUN, ledger=head)
    line = home.diary.file.read_bytes().replace(b'"ledger"', b'"details"')
    with home.diary.file.open("ab") as diary:
        diary.write(line * ((LARGEST - diary.tell()) // len(line)))
    state = canonical_json({"ledger": head.to_json(), "participant": "00" * STATE_BYTES})
    for number in range(STATES):
        (home.runs / f"{number:032x}.json").write_bytes(state)


def run() -> dict[str, object]:
    """Milliseconds of processor time to open a ledger and charge a round, by the ledger's rows; medians."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for rows in ROWS:
            home = LabelHome.create(Path(folder) / str(rows), name="label")
            home.ledger_file.unlink()
            fill(home.ledger_file, rows)
            remember(home)
            times = []
            for number in range(REPETITIONS):
                begun = time.process_time()
                with open_ledger(home) as ledger:
                    ledger.charge(RUN, number, [STEP])
                times.append(1000 * (time.process_time() - begun))
            figures[str(rows)] = statistics.median(times)
    return {"milliseconds_by_rows": figures}


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
