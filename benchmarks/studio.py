"""The studio: its queue under workers that are killed, and what it costs to start, to be idle and to answer.

python -m benchmarks studio
"""

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import func, select

from sottovoce_server.database import STUDIO, Database, DataLocation
from sottovoce_server.studio.engine import LocalEngine
from sottovoce_server.studio.jobs import Asked, Jobs, new_id
from sottovoce_server.studio.schema import OPEN, Job, Kind, Output
from sottovoce_server.studio.settings import EngineLimits, Limits, Settings

JOBS, WORKERS = 10_000, 2
KILL_SECONDS = 3.0
"""Time between two kills, seconds."""
RELEASE = Path(os.environ.get("STUDIO_RELEASE", "/tmp/studio/rel/svm"))
STARTS = 3
TOGETHER = 20


def queue(jobs: int = JOBS) -> dict[str, object]:
    """Jobs through the queue while a worker is killed every few seconds: how many were lost, or ended twice."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    unlimited = Limits(jobs_at_a_time=jobs, seconds_per_day=1e12)
    with tempfile.TemporaryDirectory() as name, closing(Database(DataLocation(Path(name), None, STUDIO))) as database:
        folder = Path(name)
        waiting = Jobs(database, folder / "jobs")
        settings = Settings(data=folder, engine=EngineLimits(workers=WORKERS))
        engine = LocalEngine(settings, waiting, program="benchmarks.studio_worker")
        for number in range(jobs):
            waiting.submit(new_id(), Asked(Kind.INSPECTION, f"{number % 100:016}", {}, f"{number:064x}"), unlimited)
        begun, kills, dice = time.perf_counter(), 0, random.Random(1)
        engine.start()
        killed = time.perf_counter()
        while _count(database, Job.state.in_(OPEN)):
            time.sleep(0.2)
            if time.perf_counter() - killed > KILL_SECONDS and (alive := engine.processes):
                os.kill(dice.choice(alive), signal.SIGKILL)
                killed, kills = time.perf_counter(), kills + 1
        seconds = time.perf_counter() - begun
        engine.stop()
        with database.session() as session:
            states = dict(session.execute(select(Job.state, func.count()).group_by(Job.state)).tuples().all())
            logged = Counter(session.scalars(select(Output.job)))
        started = sum(len(each.read_text().splitlines()) for each in (folder / "begun").iterdir())
    return {
        "jobs": jobs,
        "kills": kills,
        "states": states,
        "lost": jobs - sum(states.values()),
        "logged_twice": sum(count > 1 for count in logged.values()),
        "begun_again": started - jobs,
        "jobs_per_second": round(jobs / seconds, 1),
    }


def _count(database: Database, which: Any) -> int:
    with database.session() as session:
        return session.scalar(select(func.count()).where(which).select_from(Job)) or 0


@contextmanager
def _studio(folder: Path, workers: int) -> Any:
    """`sottovoce studio` as a process: its address, its id, and the seconds from its start to its first answer."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "sottovoce", "studio", "--releases", str(RELEASE), "--data", str(folder)]
    process = subprocess.Popen([*command, "--port", "0", "--workers", str(workers)], stderr=subprocess.PIPE, text=True)
    try:
        address = next(line.split()[1] for line in process.stderr or () if line.startswith("Serving"))
        threading.Thread(target=lambda: list(process.stderr or ()), daemon=True).start()
        with httpx.Client(base_url=address, timeout=120) as client:
            client.get("/v1/models").raise_for_status()
            yield client, process, time.perf_counter() - begun
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def _resident(process: int) -> float:
    """Resident memory of a process, MiB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024


def _music(file: Path, seconds: float) -> Path:
    import numpy as np
    import soundfile

    rate = 22_050
    noise = np.random.default_rng(1).normal(scale=0.05, size=int(seconds * rate)).astype(np.float32)
    soundfile.write(file, noise + 0.2 * np.sin(np.arange(noise.size) * 0.06).astype(np.float32), rate)
    return file


def _classify(client: httpx.Client, file: Path) -> float:
    """Seconds to classify a file by the studio."""
    begun = time.perf_counter()
    answer = client.post(
        "/v1/classifications",
        data={"model": _model(client)},
        files={"file": (file.name, file.read_bytes())},
        headers={"Prefer": "wait=60"},
    )
    if answer.raise_for_status().json()["state"] != "done":
        raise RuntimeError(answer.text)
    return time.perf_counter() - begun


def _model(client: httpx.Client) -> str:
    return str(client.get("/v1/models").json()["models"][0]["name"])


def service() -> dict[str, object]:
    """Start, idle memory, and the time to classify, warm and by the command line."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        long, short = _music(folder / "long.flac", 180), _music(folder / "short.flac", 10)
        starts = []
        for number in range(STARTS):
            with _studio(folder / str(number), 1) as (_, _, first):
                starts.append(first)
        with _studio(folder / "warm", WORKERS) as (client, process, _):
            for _ in range(2 * WORKERS):  # each worker loads the release
                _classify(client, short)
            resident = _resident(process.pid)
            warm = statistics.median(_classify(client, long) for _ in range(5))
            busy, slowest = _together(client, long)
        begun = time.perf_counter()
        command = [sys.executable, "-m", "sottovoce", "classify", str(long), "--release", str(RELEASE)]
        subprocess.run(command, check=True, capture_output=True)
        cold = time.perf_counter() - begun
    return {
        "seconds_to_first_answer": round(statistics.median(starts), 2),
        "idle_mib": round(resident, 1),
        "classify_3_minutes_warm_seconds": round(warm, 2),
        "classify_3_minutes_command_line_seconds": round(cold, 2),
        "times_faster": round(cold / warm, 1),
        "workers_busy_with_20_jobs": busy,
        "slowest_answer_meanwhile_seconds": slowest,
    }


def _together(client: httpx.Client, file: Path) -> tuple[float, float]:
    """Twenty jobs at a time: fraction of the time for which the workers had one, and the slowest other answer."""
    slowest = 0.0
    with ThreadPoolExecutor(TOGETHER) as pool:
        sent = [pool.submit(_classify, client, file) for _ in range(TOGETHER)]
        while not all(each.done() for each in sent):
            asked = time.perf_counter()
            client.get("/v1/models").raise_for_status()
            slowest = max(slowest, time.perf_counter() - asked)
            time.sleep(0.05)
    jobs = client.get("/v1/jobs", params={"limit": TOGETHER}).json()["jobs"]
    begun, ended = ([datetime.fromisoformat(each[name]).timestamp() for each in jobs] for name in ("started", "ended"))
    busy = (sum(ended) - sum(begun)) / WORKERS / (max(ended) - min(begun))
    return round(busy, 2), round(slowest, 3)


def run() -> dict[str, object]:
    """All figures."""
    return {"queue": queue(), "service": service()}


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
