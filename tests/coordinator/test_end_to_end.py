"""A federation as people run it: a SuperLink and four labels, each a process with a home of its own, over TLS.

One label is killed within a round and comes back; the coordinator's SuperLink is killed as well, and the run goes on.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from sottovoce_client.ledger import Ledger
from sottovoce_server.home import ServerHome

pytestmark = [pytest.mark.deployment, pytest.mark.timeout(900)]
LABELS = ("east", "north", "south", "west")
KILLED = "west"
STYLES = "ambient,blues,bossa,chiptune,chorale,gamelan,march,techno,waltz"
ROUND_TIMEOUT = 60


def sottovoce(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "sottovoce", *map(str, arguments)]


class Processes:
    """What was started, so that nothing of it is left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[bytes]] = []
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}

    def run(self, *arguments: object) -> str:
        done = subprocess.run(sottovoce(*arguments), env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, name: str, *arguments: object) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(sottovoce(*arguments), env=self.environment, stdout=log, stderr=log)
        self.started.append(process)
        return process

    def follow(self, *arguments: object) -> "Followed":
        process = subprocess.Popen(
            sottovoce(*arguments), env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.started.append(process)  # type: ignore[arg-type]
        return Followed(process)

    def end(self) -> None:
        for process in reversed(self.started):
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in self.started:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Followed:
    """A command whose words on standard error are waited for."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.out: list[str] = []
        self.said: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((process.stdout, self.out), (process.stderr, self.said))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream, lines: list[str]) -> None:
        for line in stream:
            lines.append(line)  # noqa: PERF402 - as each comes

    def wait_for(self, words: str, seconds: float = 300) -> None:
        deadline = time.monotonic() + seconds
        while not any(words in line for line in self.said):
            assert self.process.poll() is None, "".join(self.said)
            assert time.monotonic() < deadline, "".join(self.said)
            time.sleep(0.1)

    def result(self, seconds: float = 400) -> tuple[int, str]:
        code = self.process.wait(seconds)
        for reader in self._readers:
            reader.join()
        return code, "".join(self.out) or "".join(self.said)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(tmp_path)
    yield processes
    processes.end()


@pytest.fixture
def federation(processes: Processes, tmp_path: Path) -> tuple[Path, int]:
    """Everybody's home, the labels enrolled, the agreement signed; and the SuperLink's port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes.run("synthesise", tmp_path / "music", "--labels", len(LABELS), "--tracks", 60, "--seconds", 4, "--json")
    processes.run("server", "init", "isles", "--address", f"127.0.0.1:{port}", "--home", tmp_path / "server")
    for name, catalogue in zip(LABELS, sorted((tmp_path / "music").glob("label-*")), strict=True):
        processes.run("label", "init", name, "--home", tmp_path / name, "--out", tmp_path / f"{name}.json")
        # Who is held out, and with it whether a label has enough tracks to train on, is the same each time.
        (tmp_path / name / "split.key").write_bytes(sha256(name.encode()).digest())
        processes.run("label", "catalogue", catalogue, "--home", tmp_path / name, "--json")
    enrolments = [tmp_path / f"{name}.json" for name in LABELS]
    processes.run("server", "enrol", *enrolments, "--home", tmp_path / "server")
    processes.run("server", "sign", "--home", tmp_path / "server")
    return tmp_path, port


def start_superlink(processes: Processes, root: Path, port: int) -> subprocess.Popen[bytes]:
    process = processes.start("superlink", "server", "start", "--home", root / "server", "--host", "127.0.0.1")
    deadline = time.monotonic() + 120
    while True:
        try:
            httpx.get(f"https://127.0.0.1:{port}/health", verify=False).raise_for_status()
            return process
        except httpx.HTTPError:
            assert process.poll() is None, (root / "superlink.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.5)


def join(processes: Processes, root: Path, name: str) -> subprocess.Popen[bytes]:
    invitation = root / "server" / "signed" / "federation.toml"
    return processes.start(name, "label", "join", invitation, "--home", root / name)


def charges(root: Path, name: str) -> int:
    with Ledger(root / name / "ledger.sqlite") as ledger:
        return len([row for row in ledger.rows() if row.kind == "charge"])


def test_a_federation_trains_over_killed_processes(processes, federation):
    root, port = federation
    server = root / "server"
    superlink = start_superlink(processes, root, port)
    joined = {name: join(processes, root, name) for name in LABELS}
    common = ("--home", server, "--patience", 120, "--timeout", ROUND_TIMEOUT, "--json")
    run = processes.follow("server", "train", "--classes", STYLES, "--rounds", 3, *common)

    run.wait_for("4 labels joined")
    run.wait_for("round 1: 4 of 4 labels")
    joined[KILLED].kill()
    run.wait_for("round 2: 3 of 4 labels")
    joined[KILLED] = join(processes, root, KILLED)
    run.wait_for("round 3: 4 of 4 labels")

    superlink.kill()  # while the last model is evaluated
    code, _ = run.result()
    assert code == 1
    (identifier,) = (path.name for path in (server / "runs").iterdir())
    start_superlink(processes, root, port)
    again = processes.follow("server", "train", "--resume", identifier[:8], *common)
    code, out = again.result()
    assert code == 0, out
    figures = json.loads(out)

    rounds = {record["number"]: record for record in figures["rounds"]}
    assert sorted(rounds) == [1, 2, 3]
    assert rounds[1]["survivors"] == list(LABELS)
    assert KILLED not in rounds[2]["survivors"]
    assert len(rounds[2]["survivors"]) == 3
    assert KILLED in rounds[3]["survivors"]
    # No round was asked for twice, and what was charged stays charged.
    assert all(charges(root, name) <= 3 for name in LABELS)
    assert all(charges(root, name) == 3 for name in set(LABELS) - {KILLED})
    assert charges(root, KILLED) >= 2

    release = Path(figures["release"])
    key = server / "signed" / "federation.toml"
    assert json.loads(processes.run("release", "verify", release, "--key", key, "--json"))["vouched"]
    song = next((root / "music").glob("label-01/techno/*"))
    classified = json.loads(processes.run("classify", song, "--release", release, "--key", key, "--json"))
    assert classified
    entries = ServerHome.open(server).journal().verify()
    kinds = [entry.kind for entry in entries]
    assert kinds[:5] == ["enrolment"] * 4 + ["agreement"]
    assert kinds.count("advert") == 4
    assert kinds.count("round") == 3
    assert kinds.count("resumption") == 1
    assert kinds[-1] == "release"
    listed = json.loads(processes.run("server", "runs", "--home", server, "--json"))
    assert [(each["run"], each["state"], each["done"]) for each in listed] == [(identifier, "published", 3)]
