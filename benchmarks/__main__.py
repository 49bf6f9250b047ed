"""`make bench`: run every measurement of docs/benchmarks.md, in order, and write the results as one JSON file."""

import argparse
import importlib
import json
import platform
import sys
import time
from pathlib import Path

from sottovoce.files import write_text

BENCHMARKS = (
    "masking",
    "ledger",
    "noise",
    "features",
    "audio_memory",
    "rounds",
    "watermark",
    "copying",
    "near_duplicates",
    "deployment",
    "quality",
    "repertoire",
    "distributed_noise",
    "repair",
    "vocoder",
    "editors",
    "generators",
    "studio",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which ones (default: all of {', '.join(BENCHMARKS)})")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks.json"), help="file for the figures")
    arguments = parser.parse_args()
    names = arguments.names or list(BENCHMARKS)
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"unknown benchmark: {', '.join(sorted(unknown))}; known: {', '.join(BENCHMARKS)}")
    figures: dict[str, object] = {}
    if arguments.out.exists():
        figures = json.loads(arguments.out.read_text(encoding="utf-8"))
    for name in names:
        started = time.perf_counter()
        figures[name] = importlib.import_module(f"benchmarks.{name}").run()
        figures["machine"] = {"processor": platform.processor(), "python": platform.python_version()}
        write_text(arguments.out, json.dumps(figures, indent=2) + "\n")
        sys.stdout.write(f"{name} ({time.perf_counter() - started:.0f} s):\n{json.dumps(figures[name], indent=2)}\n")


if __name__ == "__main__":
    main()
