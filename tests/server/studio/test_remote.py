"""The studio over a real socket: its client for Python, and the page's own examples for curl."""

import asyncio
import json
import re
import shlex
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest
import soundfile
import uvicorn
from tests.server.studio.conftest import emptied, made_up

import sottovoce
from sottovoce.errors import AudioError, ConfigurationError, StudioError
from sottovoce.files import sha256_file
from sottovoce.studio import remote
from sottovoce.studio.remote import AsyncStudio, RemotePiece
from sottovoce_server.studio.jobs import Made
from sottovoce_server.studio.schema import Kind

PAGE = Path(__file__).parents[3] / "docs" / "studio.md"
STYLE = "isles-style"
FOUND = {"style": "reel", "probabilities": {"reel": 0.9, "fugue": 0.1}}
PART = {"start": 0.0, "end": 4.0, "probabilities": FOUND["probabilities"]}


def worked(job, folder):
    """A made-up result of any kind of job."""
    if job.kind != Kind.CLASSIFICATION:
        return made_up(job, folder)
    return {**FOUND, "segments": [PART] if job.parameters.get("over_time") else []}, [Made(1.0)]


@pytest.fixture(scope="module")
def server(open_studio):
    """The address of a studio that listens."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        running = uvicorn.Server(uvicorn.Config(open_studio.app, log_level="error"))
        running.install_signal_handlers = lambda: None
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        while not running.started:
            time.sleep(0.01)
        yield f"http://localhost:{listening.getsockname()[1]}"
        running.should_exit = True
        thread.join()


@pytest.fixture
def working(open_studio):
    studio = emptied(open_studio)
    studio.engine.work = worked
    return studio


@pytest.fixture
def connected(server, working):
    with sottovoce.connect(server) as studio:
        yield studio


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "song.flac"
    soundfile.write(path, [0.0, 0.1] * 4000, 8000)
    return path


def test_every_kind_of_work_from_python(connected, working, song, tmp_path):
    assert {each["name"] for each in connected.models()} == {"isles-maker", STYLE}
    assert connected.classify(song, model=STYLE).probabilities == FOUND["probabilities"]
    parts = connected.classify(song, model=STYLE, over_time=True).segments
    assert [(part.start, part.end) for part in parts] == [(0.0, 4.0)]
    pieces = connected.generate("isles-maker", "reel", seconds=1.0, count=2)
    assert [(piece.seconds, piece.seed) for piece in pieces] == [(0.5, 1), (0.5, 1)]
    edited = connected.edit(pieces[1], gain=-3.0)
    assert edited is not None
    [job] = [each for each in working.queue.latest("", 10) if each.kind == Kind.EDIT]
    assert job.parameters == {"gain": -3.0}
    for form in ("flac", "wav"):
        saved = connected.save(edited, tmp_path / f"edited.{form}")
        assert sha256_file(saved) == job.result["audio"][0]["sha256"][form]
    assert connected.inspect(song) == {"kind": "inspection"}


def test_the_same_at_once_with_async(server, working, song):
    async def all_of_it():
        async with AsyncStudio(server) as studio:
            calls = [studio.classify(song, model=STYLE) for _ in range(5)]
            return await asyncio.gather(*calls, studio.generate("isles-maker", "reel"), studio.models())

    *found, pieces, models = asyncio.run(all_of_it())
    assert [each.style for each in found] == ["reel"] * 5
    assert isinstance(pieces[0], RemotePiece)
    assert len(models) == 2


def test_what_goes_wrong_is_said(connected, working, song, tmp_path):
    with pytest.raises(StudioError, match="does not know this style") as caught:
        connected.generate("isles-maker", "polka")
    assert caught.value.hint == "Choose from fugue, reel, tango."
    with pytest.raises(AudioError, match="does not exist"):
        connected.inspect(tmp_path / "absent.flac")
    with pytest.raises(ConfigurationError, match="temperature"):
        connected.generate("isles-maker", "reel", temperature=3)
    with pytest.raises(ConfigurationError, match="FLAC or WAV"):
        connected.save(RemotePiece("0/0", 1.0, 8000, None), tmp_path / "a.mp3")

    def fails(job, folder):
        raise ConfigurationError("No room.", hint="Make some.")

    working.engine.work = fails
    with pytest.raises(StudioError, match="No room") as caught:
        connected.inspect(song)
    assert caught.value.hint == "Make some."


def test_an_address_that_is_none_or_exposes_the_token_is_refused():
    with pytest.raises(ConfigurationError, match="not a studio's address"):
        sottovoce.connect("studio.example.org")
    with pytest.raises(ConfigurationError, match="others could read the token"):
        sottovoce.connect("http://studio.example.org", token="secret")


def test_a_studio_that_is_away_or_busy_is_asked_again_with_the_same_key(monkeypatch, song):
    monkeypatch.setattr(remote, "wait_exponential_jitter", lambda **_: lambda _: 0.0)
    keys, answers = [], [httpx.Response(503, json={"detail": "Busy."}), httpx.ConnectError("away")]
    job = {"id": "0" * 32, "state": "done", "result": {"kind": "inspection"}, "audio": []}

    def answer(request):
        keys.append(request.headers["Idempotency-Key"])
        assert b"fLaC" in request.content  # the file is sent each time
        following = answers.pop(0) if answers else httpx.Response(200, json=job)
        if isinstance(following, Exception):
            raise following
        return following

    studio = sottovoce.connect("http://localhost:1")
    studio._http = httpx.Client(base_url="http://localhost:1/v1/", transport=httpx.MockTransport(answer))
    assert studio.inspect(song) == {"kind": "inspection"}
    assert len(keys) == 3
    assert len(set(keys)) == 1
    answers[:] = [httpx.ConnectError("away")] * remote.ATTEMPTS
    with pytest.raises(StudioError, match="cannot be reached"):
        studio.inspect(song)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_pages_examples_for_curl_work(server, working, song):
    lines = re.findall(r"^curl .*$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) >= 5
    named = {"http://127.0.0.1:8480": server, "isles-music": "isles-maker", "isles-style-svm": STYLE, "waltz": "reel"}
    for line in lines:
        for here, there in named.items():
            line = line.replace(here, there)
        words = shlex.split(line)
        answer = json.loads(subprocess.run(words, capture_output=True, cwd=song.parent, check=True, timeout=60).stdout)
        assert "models" in answer or answer["state"] == ("done" if "Prefer" in line else "queued"), answer
