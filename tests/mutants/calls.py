"""Which functions of the project each test calls, and how many seconds it takes; kept between runs."""

import contextlib
import gc
import hashlib
import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

ROOT = Path(__file__).parents[2]
PACKAGES = ("shared/sottovoce", "client/sottovoce_client", "server/sottovoce_server")
_FOLDERS = tuple(f"{ROOT / package}/" for package in PACKAGES)
KEPT = ROOT / ".mutants"
"""Folder of everything that is kept between runs; ignored by git."""


@cache
def _of_file(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def digest(*paths: Path) -> str:
    """Of files, as they were when this process first read them."""
    return hashlib.sha256(b"".join(map(_of_file, paths))).hexdigest()[:16]


def of_test(item: pytest.Item) -> str:
    """Digest of a test's file and of the `conftest.py` files that it sees."""
    folders = [folder for folder in item.path.parents if folder.is_relative_to(ROOT / "tests")]
    return digest(item.path, *(file for folder in folders if (file := folder / "conftest.py").exists()))


def in_fork(act: Callable[[Callable[[Any], None]], None]) -> tuple[bool, list[Any]]:
    """Whether a forked process that acts ends well, and what it reports.

    Args:
        act: what to do there; it is given a function that reports a value that JSON can hold.
    """
    file = os.memfd_create("reports")
    child = os.fork()
    if not child:
        try:
            act(lambda value: os.write(file, json.dumps(value).encode() + b"\n") and None)
            os._exit(0)
        except BaseException:
            os.write(file, json.dumps({"error": traceback.format_exc()}).encode() + b"\n")
            os._exit(1)
    _, status = os.waitpid(child, 0)
    os.lseek(file, 0, os.SEEK_SET)
    with os.fdopen(file) as reports:
        return not status, [json.loads(line) for line in reports]


def run_test(item: pytest.Item, following: pytest.Item | None = None) -> bool:
    """Whether a test passes."""
    return not any(report.failed for report in runtestprotocol(item, nextitem=following, log=False))


SLOW = 5.0
"""Time after which a test is stopped and left out, in seconds."""


def own_caches() -> list[Any]:
    """The project's cached functions: what one test has computed, another one would not compute again."""
    caches = (each for each in gc.get_objects() if isinstance(each, type(_of_file)))
    return [each for each in caches if each.__wrapped__.__code__.co_filename.startswith(_FOLDERS)]


class Calls:
    """What each test calls: a set of "file function" of outermost functions, files relative to the repository.

    Tests that fail without a mutant, or are slow, call nothing. Afterwards this process has imported what the tests
    import.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._file = KEPT / "calls.json"
        self._kept: dict[str, Any] = json.loads(self._file.read_text()) if self._file.exists() else {}
        for module in self._kept.get("modules", []):
            self._import(module)

    def of(self, item: pytest.Item) -> set[str]:
        return set(self._kept[item.nodeid]["calls"])

    def seconds(self, item: pytest.Item) -> float:
        """Processor time."""
        return float(self._kept[item.nodeid]["seconds"])

    def leave_out(self, item: pytest.Item) -> None:
        """A test that fails without a mutant shows nothing."""
        self._say(f"Left out, since it fails without a mutant: {item.nodeid}")
        self._kept[item.nodeid]["calls"] = []
        self._save()

    def note(self, items: Sequence[pytest.Item]) -> None:
        """Run tests that have changed since they were last noted, each file in a process of its own."""
        new = [item for item in items if self._kept.get(item.nodeid, {}).get("test") != of_test(item)]
        for _, chosen in groupby(new, key=lambda item: item.path):
            tests = list(chosen)
            reports = in_fork(lambda report, tests=tests: _observe(tests, report))[1]  # type: ignore[misc]
            modules = [name for report in reports if "modules" in report for name in report["modules"]]
            for name in modules:
                self._import(name)
            for report in reports:
                if not report.pop("passed", True):
                    self._say(f"Left out, since it is slow or fails in a process of its own: {report['id']}")
            self._kept["modules"] = sorted({*self._kept.get("modules", []), *modules})
            self._kept |= {report.pop("id"): report for report in reports if "id" in report}
            for item in tests:
                if item.nodeid not in self._kept or self._kept[item.nodeid]["test"] != of_test(item):
                    raise RuntimeError(f"{item.nodeid} does not end in a forked process.")
            self._save()

    def _save(self) -> None:
        KEPT.mkdir(exist_ok=True)
        self._file.write_text(json.dumps(self._kept))

    @staticmethod
    def _import(module: str) -> None:
        with contextlib.suppress(Exception):  # such as a test's own
            importlib.import_module(module)


def _observe(items: Iterable[pytest.Item], report: Callable[[Any], None]) -> None:
    items, caches = list(items), own_caches()

    def stop(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGPROF, stop)
    for item, following in zip(items, [*items[1:], None], strict=True):
        called: set[tuple[str, str]] = set()
        for kept in caches:
            kept.cache_clear()
        started = time.process_time()

        def note(frame: FrameType, *_: object, called: set[tuple[str, str]] = called) -> None:
            """Called once a function call; it costs less than a profile function, which also sees those in C."""
            if frame.f_code.co_filename.startswith(_FOLDERS):
                called.add((frame.f_code.co_filename, frame.f_code.co_qualname.partition(".<locals>")[0]))

        signal.setitimer(signal.ITIMER_PROF, SLOW)
        sys.settrace(note)
        passed = run_test(item, following)
        sys.settrace(None)
        signal.setitimer(signal.ITIMER_PROF, 0)
        seconds = time.process_time() - started
        passed = passed and seconds < SLOW
        calls = sorted(f"{Path(file).relative_to(ROOT)} {name}" for file, name in called) if passed else []
        report({"id": item.nodeid, "test": of_test(item), "seconds": seconds, "calls": calls, "passed": passed})
    report({"modules": [name for name in sys.modules if not name.startswith(("test", "_", "conftest"))]})
