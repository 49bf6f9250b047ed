"""What a long life costs: opening a ledger and charging a round, by the number of its rows.

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
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.budget.rows import Kind, Row

ROWS = (100, 100_000)
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


def run() -> dict[str, object]:
    """Milliseconds of processor time to open a ledger and charge a round, by the ledger's rows; medians."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for rows in ROWS:
            file = Path(folder) / f"{rows}.sqlite"
            fill(file, rows)
            times = []
            for number in range(REPETITIONS):
                begun = time.process_time()
                with Ledger(file) as ledger:
                    ledger.charge(RUN, number, [STEP])
                times.append(1000 * (time.process_time() - begun))
            figures[str(rows)] = statistics.median(times)
    return {"milliseconds_by_rows": figures}


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
