"""A federation as deployed: SuperLink, labels and registry are processes with their own homes, and use TLS.

One label is killed within a round and returns; the coordinator's SuperLink is killed as well, and the run resumes.
The release is published, pulled, verified and used.
"""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from subprocess import PIPE
from typing import Any

import httpx
import pytest
from click.testing import Result

from sottovoce.federation.invitation import Invitation
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.flower import supernode
from sottovoce_client.home.confirmations import confirm
from sottovoce_client.home.label_home import LabelHome
from sottovoce_server.home.coordinator_home import ServerHome
from sottovoce_server.home.runs import RunFolder
from sottovoce_server.rounds import submission

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * 3600)]
LABELS = ("east", "north", "south", "west")
KILLED = "west"
STYLES = "ambient,blues,bossa,chiptune,chorale,gamelan,march,techno,waltz"
HELD = "south"
OWN = "south"
"""The label whose processes are its own; the others' are forks of this one, which need not import everything again."""
PATIENCE = ROUND_TIMEOUT = 3000
"""Seconds: longer than a busy machine needs for anything. Against hanging: nothing waits for one of them to be over."""
SET_UP_STAGES = 3
"""Messages between the announcement of a run and its first round."""


def descendants(process: int) -> list[int]:
    """What a process has started, and what that has started in turn."""
    found = [int(child) for child in subprocess.run(["pgrep", "-P", str(process)], stdout=PIPE).stdout.split()]
    return found + [each for child in found for each in descendants(child)]


def alive(process: int) -> bool:
    """Whether it has not ended; what nobody has waited for yet has no command line."""
    with suppress(OSError):
        return bool(Path(f"/proc/{process}/cmdline").read_bytes())
    return False


def child_of(process: int) -> int:
    """The only child of a process: of `label join` the SuperNode, of that one what answers messages."""
    (child,) = subprocess.check_output(["pgrep", "-P", str(process)]).split()
    return int(child)


class InFork:
    """A label's own process as `subprocess.Popen` starts it, but in a fork of this one."""

    def __init__(
        self,
        command: list[str],
        *,
        env: Mapping[str, str] = os.environ,
        stdin: int | None = None,
        start_new_session: bool = False,
    ) -> None:
        arguments = command[command.index(supernode.__name__) :]
        reading, writing = os.pipe()
        self.stdin = os.fdopen(writing, "wb")
        self._process = get_context("fork").Process(
            target=self._run, args=(arguments, dict(env), reading, start_new_session)
        )
        self._process.start()
        os.close(reading)
        self.pid = self._process.pid

    def _run(self, arguments: list[str], environment: dict[str, str], reading: int, session: bool) -> None:
        if session:
            os.setsid()
        self.stdin.close()
        sys.stdin = os.fdopen(reading)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = arguments
        supernode.main()

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a fork", timeout or 0.0)
        return self._process.exitcode

    def terminate(self) -> None:
        self._process.terminate()


class Gate:
    """The file that a label writes durations to is a pipe here: at the end of each stage it waits for a reader."""

    def __init__(self, home: Path) -> None:
        self._file = home / "timings.jsonl"
        os.mkfifo(self._file)

    def let_through(self) -> dict[str, Any]:
        """One stage more: what the label says of it."""
        return json.loads(self._file.read_text().splitlines()[-1])

    @contextmanager
    def opened(self) -> Iterator[None]:
        """The label waits no more."""
        reader = os.open(self._file, os.O_RDWR)
        try:
            yield
        finally:
            os.close(reader)


@pytest.fixture
def start(program: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Starts a command in a process; what is alive at the end is asked to end, and so ends what it has started."""
    started: list[Any] = []

    def run(*arguments: object) -> Any:
        started.append(program(*arguments))
        return started[-1]

    yield run
    for process in reversed(started):
        if process.alive():
            process.signal(signal.SIGTERM)
    for process in started:
        process.wait()


def hours_later_after(event: Any, clock: Callable[[], float]) -> float:
    """A clock that jumps when an event is set."""
    return clock() + 3600 * event.is_set()


def said(process: Any) -> str:
    """All that it has printed."""
    return str(process.stdout + process.stderr)


def kill(process: Any, *others: int) -> None:
    """End a process and others at once, as when the power goes; who looks for it finds no such process then."""
    process.signal(signal.SIGKILL)
    for number in others:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    process.wait()


@pytest.fixture
def sottovoce_here(here: Callable[..., Result], tmp_path: Path) -> Callable[..., str]:
    """Runs in this process what other tests run as a command: what it prints."""

    def run(*arguments: object) -> str:
        done = here(*arguments, env={"XDG_STATE_HOME": str(tmp_path / "state"), "COLUMNS": "200"})
        assert done.exit_code == 0, done.output
        return str(done.stdout)

    return run


@pytest.fixture
def federation(sottovoce_here: Callable[..., str], catalogues: Path, tmp_path: Path) -> tuple[Path, int]:
    """Everybody's home, the labels enrolled, the agreement signed; and the SuperLink's port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    sottovoce_here("server", "init", "isles", "--address", f"127.0.0.1:{port}", "--home", tmp_path / "server")
    enrolments = {name: tmp_path / f"{name}.json" for name in LABELS}
    for (name, enrolment), catalogue in zip(enrolments.items(), sorted(catalogues.glob("label-*")), strict=True):
        home = ("--home", tmp_path / name)
        sottovoce_here("label", "init", name, *home, "--federation", "isles", "--out", enrolment)
        # Who is held out, and with it whether a label has enough tracks to train on, is the same each time.
        (tmp_path / name / "split.key").write_bytes(sha256(name.encode()).digest())
        sottovoce_here("label", "catalogue", catalogue, "--declare", *home, "--json")
    sottovoce_here("server", "enrol", *enrolments.values(), "--home", tmp_path / "server")
    sottovoce_here("server", "sign", "--home", tmp_path / "server")
    members = Invitation.read(tmp_path / "server" / "signed" / "federation.toml").agreement.members
    for name in LABELS:  # every label's people have compared the others' fingerprints
        home = LabelHome.open(tmp_path / name)
        confirm(home, home.identity(), "isles", [member for member in members if member.name != name])
    return tmp_path, port


@pytest.fixture
def start_superlink(start: Callable[..., Any], eventually: Callable[..., None], federation: tuple[Path, int]) -> Any:
    root, port = federation

    def run() -> Any:
        process = start("server", "start", "--home", root / "server", "--host", "127.0.0.1")

        def answers() -> bool:
            try:
                return httpx.get(f"https://127.0.0.1:{port}/health", verify=False).is_success
            except httpx.HTTPError:
                return False

        eventually(answers, "the SuperLink answers", alive=process.alive)
        return process

    return run


def charged(root: Path, name: str) -> list[int]:
    """The rounds that a label's ledger was charged for."""
    with Ledger(root / name / "ledger.sqlite") as ledger:
        return [row.round for row in ledger.rows() if row.kind == "charge"]


def test_a_federation_trains_over_killed_processes(
    start, start_superlink, sottovoce_here, federation, catalogues, eventually
):
    root, _ = federation
    server = root / "server"
    for name in ("flwr.superlink.cli.flower_superlink", *supernode.NODE_MODULES, *supernode.ANSWER_MODULES):
        importlib.import_module(name)  # here, once for all forks
    superlink = start_superlink()
    gate = Gate(root / KILLED)

    def join(name: str) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            if name != OWN:
                patch.setattr(subprocess, "Popen", InFork)
            return start("label", "join", server / "signed" / "federation.toml", "--home", root / name)

    joined = {name: join(name) for name in LABELS}
    common = ("--home", server, "--patience", PATIENCE, "--timeout", ROUND_TIMEOUT, "--json")
    gone = get_context("fork").Event()
    with pytest.MonkeyPatch.context() as patch:  # for `train`, the time that a SuperLink may be silent flies once it is
        patch.setattr(submission.time, "monotonic", partial(hours_later_after, gone, time.monotonic))
        run = start("server", "train", "--classes", STYLES, "--rounds", 2, *common)
    for _ in range(SET_UP_STAGES):
        assert gate.let_through()["round"] == 0
    eventually(lambda: "4 labels joined" in run.stderr, "all labels have joined", alive=run.alive)
    (identifier,) = (path.name for path in (server / "runs").iterdir())

    # A label is killed when it has trained in the first round: it has been charged, and its report has not left.
    eventually(lambda: charged(root, KILLED) == [1], f"{KILLED} trains")
    # Another one answers nothing meanwhile, so that the round lasts until the killed one is back.
    held = child_of(child_of(joined[HELD].pid))
    os.kill(held, signal.SIGSTOP)
    # Its SuperNode alone is let say good-bye: without, it would be let in again a minute later (deploy/test_join.py).
    node = child_of(joined[KILLED].pid)
    others = descendants(node)
    kill(joined[KILLED], *others)
    eventually(lambda: not any(map(alive, [node, *others])), "nothing of it is left")
    before, joined[KILLED] = joined[KILLED], join(KILLED)
    eventually(lambda: "SuperNode ID" in said(joined[KILLED]), "it is back", alive=joined[KILLED].alive)
    os.kill(held, signal.SIGCONT)
    eventually(lambda: "round 1: 3 of 4 labels" in run.stderr, "the first round ends", alive=run.alive)

    # The SuperLink is killed while the last model is evaluated.
    while gate.let_through()["round"] < 3:
        pass
    eventually(lambda: "round 2: 4 of 4 labels" in run.stderr, "the second round ends", alive=run.alive)
    kill(superlink)
    gone.set()
    assert run.wait() == 1, said(run)
    assert f"train --resume {identifier[:8]}" in run.stderr
    again = start_superlink()  # it resumes the run by itself
    folder = RunFolder(server / "runs" / identifier)
    with gate.opened():
        eventually(lambda: folder.progress()["state"] in ("published", "failed"), "the run ends", alive=again.alive)
    figures = {**folder.progress(), **folder.progress().get("history", {})}
    assert figures["state"] == "published", figures

    rounds = {record["number"]: record for record in figures["rounds"]}
    assert sorted(rounds) == [1, 2]
    assert rounds[1]["survivors"] == [name for name in LABELS if name != KILLED]
    assert rounds[2]["survivors"] == list(LABELS)
    # No round was asked for twice, and what was charged stays charged: the last evaluation too, where it had begun.
    for name in LABELS:
        assert charged(root, name) in ([1, 2], [1, 2, 3]), name

    key = server / "signed" / "federation.toml"
    release = published_and_pulled(start, eventually, sottovoce_here, root, Path(figures["release"]), key)
    assert json.loads(sottovoce_here("release", "verify", release, "--key", key, "--json"))["vouched"]
    own = sottovoce_here("release", "verify", figures["release"], "--key", key, "--json")
    assert "in the coordinator's log (size 2)" in own  # one agreement, one release
    shown = json.loads(sottovoce_here("release", "show", release, "--key", key, "--json"))
    entries = ServerHome.open(server).journal().verify()
    assert [each["name"] for each in shown["signatures"]] == ["isles", *LABELS], entries[-1].data
    song = next(catalogues.glob("label-01/*/*/*.flac"))
    assert json.loads(sottovoce_here("classify", song, "--release", release, "--key", key, "--json"))

    kinds = [entry.kind for entry in entries]
    assert kinds[:5] == ["enrolment"] * 4 + ["agreement"]
    assert kinds.count("advert") == 4
    assert kinds.count("round") == 2
    assert kinds.count("resumption") == 1
    assert kinds[-1] == "release"
    listed = json.loads(sottovoce_here("server", "runs", "--home", server, "--json"))
    assert [(each["run"], each["state"], each["done"]) for each in listed] == [(identifier, "published", 2)]
    assert all("Traceback" not in said(label) for label in (before, *joined.values()))


def published_and_pulled(
    start: Callable[..., Any],
    eventually: Callable[..., None],
    sottovoce_here: Callable[..., str],
    root: Path,
    release: Path,
    key: Path,
) -> Path:
    """The release as a consumer has it, from a registry of its own with the coordinator's certificate."""
    data, token = root / "registry", root / "publish.token"
    sottovoce_here("registry", "token", "create", "coordinator", "--scope", "publish", "--data", data, "--out", token)
    certificate = ("--tls-cert", root / "server" / "server.pem", "--tls-key", root / "server" / "server.key")
    registry = start("registry", "serve", "--data", data, "--key", key, "--port", 0, *certificate)
    eventually(lambda: "Serving: " in registry.stderr, "the registry serves", alive=registry.alive)
    url = registry.stderr.split("Serving: ")[1].split()[0]
    there = ("--authority", root / "server" / "authority.pem", "--token-file", token)
    sottovoce_here("release", "publish", release, "--to", url, *there)
    name = json.loads((release / "manifest.json").read_text())["name"]
    pulled = root / "pulled"
    sottovoce_here("release", "pull", name, "--from", url, "--key", key, "--out", pulled, *there)
    files = sorted(file.name for file in release.iterdir())
    assert sorted(file.name for file in pulled.iterdir()) == files
    assert all((pulled / name).read_bytes() == (release / name).read_bytes() for name in files)
    return pulled
