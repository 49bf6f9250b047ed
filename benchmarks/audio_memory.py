"""Memory that a three-hour stereo file takes: peak resident memory of the processes that scan, classify and edit it.

`importing` is what a process that classifies takes before it reads anything: torch. `python -m benchmarks audio_memory`
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

HOURS, RATE = 3, 44_100
TASKS = {
    "importing": "import sottovoce.features.extract",
    "scan": "from sottovoce_client.catalogue.file_facts import examine; assert examine(path).reason is None",
    "classify": "from sottovoce.features.extract import default_spec, extract_file; extract_file(path, default_spec())",
    "side": "from sottovoce_client.data.spectral_split import spectrum_of; spectrum_of(path)",
    "sketch": "from sottovoce_client.copy_audit.sketch import sketch_file; sketch_file(path)",
    "edit": "from sottovoce.cli import main; sys.argv[1:] += ['-o', sys.argv[1] + '.flac', '--gain', '-3']; "
    "sys.argv.insert(1, 'edit'); main()",
}
PROGRAM = """
import atexit, resource, sys
from pathlib import Path
path = Path(sys.argv[1])
own, children = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
peak = lambda: max(resource.getrusage(who).ru_maxrss for who in (own, children))
atexit.register(lambda: print(f"peak {peak() * 1024}"))
"""


def run() -> dict[str, object]:
    """Peak resident memory in MB by task."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = Path(folder) / "long.flac"
        _write(path)
        return {"megabytes": {name: _peak(program, path) / 1e6 for name, program in TASKS.items()}}


def _write(path: Path) -> None:
    """Chords over noise: a minute of them, over and over, each time at another level."""
    rng = np.random.default_rng(1)
    times = np.arange(60 * RATE) / RATE
    minute = sum(np.sin(2 * np.pi * hertz * times) for hertz in 110 * 2 ** (rng.integers(0, 36, 6) / 12)) / 12
    minute = np.stack([minute, minute[::-1]], axis=1) + rng.normal(0, 0.002, (len(times), 2))
    with soundfile.SoundFile(path, "w", RATE, 2, subtype="PCM_16") as file:
        for _ in range(60 * HOURS):
            file.write(minute * rng.uniform(0.3, 1))


def _peak(program: str, path: Path) -> float:
    done = subprocess.run([sys.executable, "-c", PROGRAM + program, path], capture_output=True, text=True, check=False)
    if "peak " not in done.stdout or "Error" in done.stderr:
        raise SystemExit(f"{program}\n{done.stdout}\n{done.stderr}")
    return float(done.stdout.rsplit("peak ", 1)[1].split()[0])


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
