"""Play schedules until one violates what must hold: `make simulate-faults SCHEDULES=1000 SEED=1`.

With LABEL=1, histories of one label instead of those of the whole federation.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.simulation.one_label import Courses
from tests.simulation.simulation import report, simulation

EVERY = 100
"""Number of schedules between two lines of progress."""


def main() -> int:
    """Play them; 1 if there was a violation."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1, help="of the first schedule; the others count up from it")
    parser.add_argument("--label", action="store_true", help="histories of one label")
    parser.add_argument("--all", action="store_true", help="go on after a violation")
    asked = parser.parse_args()
    ends: Counter[str] = Counter()
    violations: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="sim-") as folder, simulation(Path(folder)) as federation:
        played = Courses.of(federation) if asked.label else federation
        started = time.process_time()
        for number, seed in enumerate(range(asked.seed, asked.seed + asked.schedules), start=1):
            outcome = played.play(seed)
            ends[f"{outcome.state}: {outcome.end}"] += 1
            if outcome.violation:
                known = violations[outcome.violation]
                violations[outcome.violation] += 1
                if not known:
                    sys.stdout.write(f"SEED={seed}\n{report(played.shrink(outcome))}\n\n")
                    sys.stdout.flush()
                if not asked.all:
                    return 1
            if number % EVERY == 0 or number == asked.schedules:
                seconds = time.process_time() - started
                sys.stdout.write(f"{number} schedules, {1000 * seconds / number:.1f} ms of processor time each, ")
                sys.stdout.write(f"{federation.known:.0%} of the answers were known\n")
                sys.stdout.flush()
    for end, count in [*ends.most_common(), *violations.most_common()]:
        sys.stdout.write(f"{count:8} {end}\n")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
