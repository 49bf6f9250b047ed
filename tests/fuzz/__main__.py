"""Fuzz the readers of untrusted bytes, one target after another: `make fuzz MINUTES=10 ONLY=message`.

What reaches new code is kept in `.fuzz/TARGET/` and used the next time; `--keep` adds it, merged by libFuzzer, to the
corpora in the repository. An input that led to a fault is in `.fuzz/faults/`: mend the fault, and put the input into
the corpus with `--add TARGET FILE`, where every run of the tests tries it.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz import corpus
from tests.fuzz.targets import targets

KEPT = Path(__file__).parents[2] / ".fuzz"
LARGEST = 1 << 16
"""Largest input, in bytes."""
LONGEST = 20
"""Seconds that a reader may take for one input."""
MEMORY = 2048
"""Memory that the process may take, in MiB."""
FUZZER = [sys.executable, "-m", "tests.fuzz.fuzzer"]


def fuzz(name: str, seconds: float) -> tuple[int, str]:
    """Fuzz one target: the exit code, and what libFuzzer says of it."""
    own, faults = KEPT / name, KEPT / "faults"
    corpus.unpack(corpus.read(name), own)
    faults.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_len={LARGEST}", f"-timeout={LONGEST}", f"-rss_limit_mb={MEMORY}"]
    run = [f"-max_total_time={max(1, round(seconds))}", f"-artifact_prefix={faults}/{name}-"]
    done = subprocess.run([*FUZZER, name, *limits, *run, str(own)], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr + done.stdout


def merge(name: str) -> None:
    """Add to the repository's corpus those inputs that reach code which it does not."""
    with TemporaryDirectory() as folder:
        corpus.unpack(corpus.read(name), Path(folder))
        done = subprocess.run(
            [*FUZZER, name, "-merge=1", f"-max_len={LARGEST}", folder, str(KEPT / name)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(done.stderr)
        corpus.write(name, (file.read_bytes() for file in Path(folder).iterdir()))


def counted(told: str) -> str:
    """Executions and coverage, of libFuzzer's last line that names them."""
    runs = re.findall(r"#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)", told)
    if not runs:
        return "no figure"
    tried, edges, _, inputs = runs[-1]
    return f"{int(tried):>10,} inputs  {int(edges):>5} edges  {int(inputs):>4} kept"


def main() -> int:
    """Fuzz the targets asked for; 1 if there was a fault."""
    with TemporaryDirectory() as folder:
        known = list(targets(Path(folder)))
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[*known, []], metavar="TARGET", help=", ".join(known))
    parser.add_argument("--minutes", type=float, default=5.0, help="for all targets together. Default: 5")
    parser.add_argument("--keep", action="store_true", help="keep what reaches new code in tests/fuzz/corpora")
    parser.add_argument("--seeds", action="store_true", help="add valid inputs that the code writes today, and end")
    parser.add_argument("--add", nargs=2, metavar=("TARGET", "FILE"), help="add one input, and end")
    asked = parser.parse_args()
    if asked.add:
        name, file = asked.add
        corpus.write(name, [*corpus.read(name), Path(file).read_bytes()])
        return 0
    if asked.seeds:
        from tests.fuzz.seeds import seeds

        for name, inputs in seeds().items():
            corpus.write(name, [*corpus.read(name), *inputs])
        return 0
    faults = 0
    chosen = asked.targets or known
    for name in chosen:
        code, told = fuzz(name, 60 * asked.minutes / len(chosen))
        print(f"{name:16} {counted(told)}{'  FAULT' if code else ''}", flush=True)
        if code:
            faults += 1
            print(told[-4000:], file=sys.stderr)
        elif asked.keep:
            merge(name)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
