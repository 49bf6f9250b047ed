"""A federation of processes under random faults, without a human hand: `make soak FAULTS=1000 MINUTES=60 SEED=1`.

It runs in Linux namespaces of its own (`unshare`), for small disks to fill, and to leave nothing
behind.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

INSIDE = "SOAK_INSIDE"


def main() -> int:
    """Run it; 1 if something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--faults", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=600, help="end after this time, with fewer faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=float, default=5.0, help="mean seconds between two faults, times 0.5, 2 or 6")
    parser.add_argument("--timeout", type=float, default=120.0, help="of an answer, seconds; more on a busy machine")
    parser.add_argument("--out", type=Path, default=Path("runs/soak"), help="summary; and the folder, if one failed")
    parser.add_argument("--keep", action="store_true", help="keep the folder in any case")
    parser.add_argument("--ports", action=argparse.BooleanOptionalAction, default=True, help="strangers at the ports")
    asked = parser.parse_args()
    if os.environ.get(INSIDE) is None:
        mapped = [] if os.geteuid() == 0 else ["--map-root-user"]
        apart = ["unshare", *mapped, "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        os.environ[INSIDE] = os.environ["OMP_NUM_THREADS"] = "1"
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # many processes import the same modules
        os.execvp("unshare", [*apart, sys.executable, "-m", "tests.soak", *sys.argv[1:]])
    if os.getpid() == 1:
        return _first()
    from tests.soak.soak import soak

    asked.out.mkdir(parents=True, exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="soak-", dir="/var/tmp"))
    try:
        summary = soak(root, asked)
        (asked.out / f"seed-{asked.seed}.json").write_text(json.dumps(summary, indent=2) + "\n")
        print(json.dumps(summary, indent=2))
        if summary["complaints"] or asked.keep:
            kept = asked.out / f"seed-{asked.seed}"
            shutil.rmtree(kept, ignore_errors=True)
            with suppress(shutil.Error):
                shutil.copytree(root, kept, ignore=shutil.ignore_patterns("music", "cache", ".filler"), symlinks=True)
            print(f"SEED={asked.seed}: kept {kept}")
        return 1 if summary["complaints"] else 0
    finally:
        for disk in root.glob("disk-*"):
            os.system(f"umount -l {disk}")
        shutil.rmtree(root, ignore_errors=True)


def _first() -> int:
    """The first process of a namespace takes in the orphans of all others; the work is a child's."""
    child = os.fork()
    if child == 0:
        return main()
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    while True:
        ended, status = os.wait()
        if ended == child:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


if __name__ == "__main__":
    sys.exit(main())
