"""What holds for all tests."""

import gc
import logging
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from filelock import FileLock
from hypothesis import HealthCheck, settings
from tests import workers
from tests.small_run import small_run
from typer.testing import CliRunner

from sottovoce.run.configuration import RunConfiguration

MEMORY, ROOM = Path("/dev/shm"), 4 << 30
"""Files in memory, and the bytes free there for tests to use it: renames and SQLite's transactions wait for a disk."""

if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"  # Flower reads it when it is imported

settings.register_profile(
    "any machine",  # a busy or slow one takes as long as it takes
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("any machine")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: list[Any]) -> None:
    """Workers are forks of one process that has imported all tests."""
    if not workers.AVAILABLE:
        return
    python = ExitStack()
    config.add_cleanup(python.close)
    command = python.enter_context(workers.template(*config.invocation_params.args))
    for spec in specs:
        spec.python = command


def pytest_collection(session: pytest.Session) -> None:
    """Nearly all that importing and collecting makes stays: the garbage collector need not look for what does not."""
    gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def no_plug_is_pulled():
    """What is flushed need not reach the disk: a killed process loses nothing of it, only a dead machine would.

    That it is flushed, and before what, is seen in `federation/test_state.py` and `privacy/test_ledger.py`.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: os.fstat(handle) and None)
        yield


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_is_heard():
    """A script that starts the tests in the background ignores it, and each process of theirs would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def one_core():
    """Each of pytest's workers has one to itself: processes that share work out would take turns with other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda process: {0})
        yield


@pytest.fixture(autouse=True)
def no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Audio files are examined here: a process for it costs more than the few files of a test.

    That it is one, and what it is for, is seen in `client/catalogue/`.
    """
    from sottovoce_client.catalogue import scanning

    monkeypatch.setattr(
        scanning, "read_all", lambda files, _: ((number, scanning.examine(path)) for number, path in files)
    )


@pytest.fixture
def ledgers_wait_for_no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite has its own way to flush: where many rounds are run, ledgers' transactions do without, too."""
    from sottovoce_client.budget.ledger import Ledger

    opened = Ledger.__init__

    def init(ledger: Ledger, *arguments: Any, **options: Any) -> None:
        opened(ledger, *arguments, **options)
        ledger._database.execute("PRAGMA synchronous = OFF")

    init.__kwdefaults__ = opened.__kwdefaults__
    monkeypatch.setattr(Ledger, "__init__", init)


@pytest.fixture(scope="session")
def run_configuration() -> Callable[..., RunConfiguration]:
    return small_run


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[Callable[[Path], object]], Path]:
    """Makes numbered folders, each after `prepare`."""
    numbers = count()

    def made(prepare: Callable[[Path], object]) -> Path:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        prepare(folder)
        return folder

    return made


@pytest.fixture
def calls() -> Callable[[], Any]:
    """`with calls() as counted:` counts the functions that are called, by name: work, whatever the machine's speed."""

    @contextmanager
    def counting() -> Iterator[Counter[str]]:
        counted: Counter[str] = Counter()

        def note(frame: Any, event: str, argument: Any) -> None:
            if event == "call":
                counted[frame.f_code.co_qualname] += 1
            elif event == "c_call":
                counted[argument.__qualname__] += 1

        before = sys.getprofile()
        sys.setprofile(note)
        try:
            yield counted
        finally:
            sys.setprofile(before)

    return counting


PATIENCE = 1400
"""Longest wait for another process in seconds: a guard against hanging, not a measure of speed."""


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """Wait until something holds: `eventually(holds, what)`, while `alive()` does."""

    def wait(holds: Callable[[], object], what: str, *, alive: Callable[[], object] = lambda: True) -> None:
        until = time.monotonic() + PATIENCE
        while not holds():
            assert alive() or holds(), f"it ended before this came: {what}"
            assert time.monotonic() < until, f"within {PATIENCE} s this did not come: {what}"
            time.sleep(0.02)

    return wait


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A folder that the first worker that needs it fills, for all: `made_once(name, fill)`; tests only read it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        folder, done = shared / name, shared / f"{name}.made"
        with FileLock(shared / f"{name}.lock"):
            if not done.exists():
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def catalogues(made_once: Callable[..., Path]) -> Path:
    """Of four labels: as many as may lose one, none with too few tracks. Simulations leave features beside them."""
    from sottovoce_simulations.synthesis import synthesise

    folder = made_once(
        "catalogues", lambda folder: synthesise(folder / "music", labels=4, tracks=30, seconds=(5, 5), workers=1)
    )
    return folder / "music"


@pytest.fixture(scope="session")
def here() -> Callable[..., Result]:
    """Runs a command in this process, which has loaded already what takes each new one seconds."""
    from sottovoce.cli import app

    runner = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"})
    return lambda *arguments, **options: runner.invoke(
        app, [str(argument) for argument in arguments], prog_name="sottovoce", **options
    )


class Forked:
    """A program in a fork of this process: a process of its own to signal and kill, which has imported already.

    Args:
        target: what it does, with its arguments; `sys.exit` ends it with a code.
        output: a new folder for what it prints.
        session: lead a process group of its own, as a terminal's foreground job does.
    """

    def __init__(self, target: Callable[..., object], *arguments: Any, output: Path, session: bool = False) -> None:
        self._output = output
        for name in ("stdout", "stderr"):
            (output / name).touch()
        self._process = get_context("fork").Process(target=self._run, args=(target, session, *arguments))
        self._process.start()
        self.pid = self._process.pid

    def _run(self, target: Callable[..., object], session: bool, *arguments: Any) -> None:
        if session:
            os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(self._output / name, os.O_WRONLY | os.O_APPEND), number)
            setattr(sys, name, os.fdopen(number, "w", buffering=1, closefd=False))
        for handler in logging.getLogger(
            "flwr"
        ).handlers:  # each has kept what was `sys.stderr` when Flower was imported
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(sys.stderr)
        if "torch" in sys.modules:  # the threads of its pool are not in a fork, and would be waited for
            sys.modules["torch"].set_num_threads(1)
        try:
            target(*arguments)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()

    @property
    def stdout(self) -> str:
        """What it has printed."""
        return (self._output / "stdout").read_text()

    @property
    def stderr(self) -> str:
        """What it has said beside that."""
        return (self._output / "stderr").read_text()

    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.is_alive()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self._process.pid, number)

    def wait(self) -> int:
        """Its exit code, when it has ended; of a signal, minus its number."""
        self._process.join(PATIENCE)
        assert self._process.exitcode is not None, f"it did not end within {PATIENCE} s"
        return self._process.exitcode

    def end(self) -> None:
        """Kill it, if it lives."""
        self._process.kill()
        self._process.join()


@pytest.fixture(scope="module")
def fork(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Forked]]:
    """Start `Forked` processes: `fork(function, *arguments)`; what is alive at the end is killed."""
    started: list[Forked] = []

    def start(target: Callable[..., object], *arguments: Any, session: bool = False) -> Forked:
        started.append(Forked(target, *arguments, output=tmp_path_factory.mktemp("forked"), session=session))
        return started[-1]

    yield start
    for each in started:
        each.end()


@pytest.fixture(scope="module")
def program(fork: Callable[..., Forked]) -> Callable[..., Forked]:
    """`sottovoce ARGUMENTS` as a `Forked` process."""

    def main(*arguments: str) -> None:
        from sottovoce.cli import main

        sys.argv = ["sottovoce", *arguments]
        main()

    return lambda *arguments, **options: fork(main, *map(str, arguments), **options)
