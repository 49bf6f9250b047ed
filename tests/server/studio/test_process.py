"""`sottovoce studio` as a process: its end by Ctrl-C and by being killed, many and slow clients, two on one folder."""

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[3]


def studio(*arguments):
    """The command, with workers whose jobs are trivial."""
    from sottovoce.cli import main
    from sottovoce_server.studio import engine

    os.environ["PYTHONPATH"] = str(ROOT)
    engine.LocalEngine = partial(engine.LocalEngine, program="benchmarks.studio_worker")
    sys.argv = ["sottovoce", "studio", *map(str, arguments)]
    main()


class Process:
    """A running studio."""

    def __init__(self, process, eventually):
        self.process = process
        eventually(lambda: "Serving: " in process.stderr, "it serves", alive=process.alive)
        self.url = process.stderr.partition("Serving: ")[2].split()[0]

    def client(self):
        return httpx.Client(base_url=self.url, timeout=60)

    def put(self):
        """A job."""
        with self.client() as client:
            answer = client.post("/v1/inspections", files={"file": ("a.wav", b"RIFF")})
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def end(self, how=signal.SIGINT):
        self.process.signal(how)
        return self.process.wait()


@pytest.fixture
def start(fork, release, tmp_path, eventually):
    def begin(*options):
        where = ("--releases", release, "--data", tmp_path / "studio", "--port", 0, "--workers", 1)
        return Process(fork(studio, *where, *options, session=True), eventually)

    return begin


def state(running, job):
    with running.client() as client:
        return client.get(f"/v1/jobs/{job}").raise_for_status().json()["state"]


def workers(folder):
    """Process ids of the workers of a studio's folder."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            arguments = each.read_bytes().split(b"\0")
            if b"benchmarks.studio_worker" in arguments and str(folder).encode() in b"".join(arguments):
                found.append(int(each.parent.name))
    return found


def test_jobs_are_done_and_survive_kills_and_ctrl_c(start, eventually, tmp_path, fork, release):
    running = start()
    done = running.put()
    eventually(lambda: state(running, done) == "done", "the job is done")

    second = fork(studio, "--releases", release, "--data", tmp_path / "studio", "--port", 0)
    assert second.wait() == 2
    assert "Another studio uses the folder" in second.stderr

    (worker,) = workers(tmp_path / "studio")
    os.kill(worker, signal.SIGSTOP)  # so that the next job waits
    kept = running.put()
    running.end(signal.SIGKILL)
    os.kill(worker, signal.SIGCONT)
    eventually(lambda: not workers(tmp_path / "studio"), "the worker sees that its studio is gone")

    running = start()
    gone = httpx.URL(running.url)
    for kind in ("application/json", "multipart/form-data; boundary=b"):
        with socket.create_connection((gone.host, gone.port)) as leaving:
            head = f"POST /v1/inspections HTTP/1.1\r\nHost: {gone.netloc.decode()}\r\nContent-Type: {kind}\r\n"
            leaving.sendall(head.encode() + b"Content-Length: 1000\r\n\r\n--b\r\n")
    eventually(lambda: state(running, kept) == "done", "the job is taken up again")
    assert state(running, done) == "done"

    (worker,) = workers(tmp_path / "studio")
    os.kill(worker, signal.SIGSTOP)
    waiting = running.put()
    url = httpx.URL(running.url)
    with running.client() as client, client.stream("GET", f"/v1/jobs/{waiting}/events") as events:
        lines = events.iter_lines()
        assert next(lines) == "event: queued"
        with (
            socket.create_connection((url.host, url.port)) as slow,
            socket.create_connection((url.host, url.port)) as idle,
        ):
            head = f"POST /v1/inspections HTTP/1.1\r\nHost: {url.netloc.decode()}\r\nPrefer: wait=60\r\n"
            body = b'{"source": "' + b"0" * 32 + b'/0"}'
            slow.sendall(head.encode() + b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n" + body[:5])
            idle.sendall(b"GET /v1/health HTTP/1.1\r\nHost: ")
            assert running.end() == 0
            with suppress(httpx.HTTPError):
                assert [line for line in lines if line.startswith("event:")] in ([], ["event: queued"])
    assert "Stopped: jobs that had not ended continue at the next start" in running.process.stderr
    assert "Traceback" not in running.process.stderr
    assert workers(tmp_path / "studio") == []

    assert start().end(signal.SIGTERM) == 0


@pytest.mark.deployment
def test_two_hundred_clients_at_a_time_are_all_answered(start, eventually):
    running = start()

    async def one(client, number):
        key = {"Idempotency-Key": str(number)}
        answer = await client.post("/v1/inspections", files={"file": ("a.wav", b"%d" % number)}, headers=key)
        assert answer.status_code in (202, 429), answer.text
        if answer.status_code == 429:
            assert int(answer.headers["retry-after"]) > 0
            return None
        return answer.json()["id"]

    async def everyone():
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(base_url=running.url, timeout=120, limits=limits) as client:
            found = await asyncio.gather(*(one(client, number) for number in range(200)))
            health = await client.get("/v1/health")
        return found, health.status_code

    found, health = asyncio.run(everyone())
    accepted = [job for job in found if job is not None]
    assert health == 200
    assert len(set(accepted)) == len(accepted) >= 100
    with running.client() as client:
        eventually(lambda: len(client.get("/v1/log").json()["outputs"]) >= len(accepted), "all jobs are done")
        log = client.get("/v1/log").json()["outputs"]
    assert sorted(each["job"] for each in log) == sorted(accepted)
    assert running.end() == 0
