"""Which functions of the mutated modules each test calls, and how many seconds it takes; kept between runs."""

import ast
import builtins
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
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from _pytest.runner import runtestprotocol
from operators import noting

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


def run_test(item: pytest.Item, following: pytest.Item | pytest.Session | None) -> bool:
    """Whether a test passes.

    Args:
        item: the test.
        following: the next one, whose fixtures stay; the session, whose fixtures alone stay; or nothing.
    """
    return not any(report.failed for report in runtestprotocol(item, nextitem=following, log=False))  # type: ignore[arg-type]


SLOW = 5.0
"""Time after which a test is stopped and left out, in seconds."""


def own_caches() -> dict[Any, frozenset[Path]]:
    """The project's cached functions, with the files on which their results depend.

    What one test has computed, another one would not compute again.
    """
    caches = (each for each in gc.get_objects() if isinstance(each, type(_of_file)))
    files = ((each, getattr(getattr(each.__wrapped__, "__code__", None), "co_filename", "")) for each in caches)
    return {each: _imported(Path(file)) for each, file in files if file.startswith(_FOLDERS)}


@cache
def _imported(file: Path) -> frozenset[Path]:
    """A file of the project and those that it imports, directly or not."""
    found, new = {file}, [file]
    while new:
        for name in _imports(new.pop()):
            for folder in map(Path, _FOLDERS):
                path = folder.parent.joinpath(*name.split("."))
                for each in (path.with_suffix(".py"), path / "__init__.py"):
                    if each not in found and each.exists():
                        found.add(each)
                        new.append(each)
    return frozenset(found)


@cache
def _imports(file: Path) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
    return frozenset(names)


def live_functions() -> dict[tuple[str, tuple[str, int]], list[FunctionType]]:
    """Functions of this process by file, qualified name and first line."""
    live: dict[tuple[str, tuple[str, int]], list[FunctionType]] = defaultdict(list)
    for each in gc.get_objects():
        if isinstance(each, FunctionType):
            code = each.__code__
            live[code.co_filename, (code.co_qualname, code.co_firstlineno)].append(each)
    return live


class Calls:
    """What each test calls: a set of "file function" of outermost functions, files relative to the repository.

    Tests that fail without a mutant, or are slow, call nothing. Afterwards this process has imported what the tests
    import.

    Args:
        sources: source of the modules whose functions are noted, by file; all of them are imported.
        say: prints a line.
    """

    def __init__(self, sources: Mapping[str, str], say: Callable[[str], None]) -> None:
        self._say = say
        self._sources = sources
        self._file = KEPT / f"calls-{hashlib.sha256(' '.join(sorted(sources)).encode()).hexdigest()[:16]}.json"
        self._kept: dict[str, Any] = json.loads(self._file.read_text()) if self._file.exists() else {}
        for module in self._kept.get("modules", []):
            self._import(module)

    def of(self, item: pytest.Item) -> set[str]:
        return set(self._kept[item.nodeid]["calls"])

    def seconds(self, item: pytest.Item) -> float:
        """Processor time."""
        return float(self._kept[item.nodeid]["seconds"])

    def took(self, item: pytest.Item, seconds: float) -> None:
        """Note a test's time, if it is shorter than the one known: what is cached by then took no time."""
        self._kept[item.nodeid]["seconds"] = min(self.seconds(item), seconds)

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
            reports = in_fork(lambda report, tests=tests: _observe(tests, self._sources, report))[1]  # type: ignore[misc]
            modules = [name for report in reports if "modules" in report for name in report["modules"]]
            for name in modules:
                self._import(name)
            for report in reports:
                if "error" in report:
                    raise RuntimeError(report["error"])
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


def _observe(items: Iterable[pytest.Item], sources: Mapping[str, str], report: Callable[[Any], None]) -> None:
    items, live, seen = list(items), live_functions(), set[str]()
    for kept in (caches := own_caches()):
        kept.cache_clear()
    cached = {module for module in sources if any(ROOT / module in files for files in caches.values())}
    for index, (module, source) in enumerate(sources.items()):
        for where, code in noting(source, str(ROOT / module), f"_called_{index}").items():
            for function in live[str(ROOT / module), where]:
                function.__code__ = code

    def stop(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGPROF, stop)
    for item, following in zip(items, [*items[1:], None], strict=True):
        called: dict[str, set[str]] = {module: set() for module in sources}
        for index, module in enumerate(sources):
            setattr(builtins, f"_called_{index}", called[module].add)
        started = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SLOW)
        passed = run_test(item, following)
        signal.setitimer(signal.ITIMER_PROF, 0)
        seconds = time.process_time() - started
        calls = {f"{module} {name}" for module, names in called.items() for name in names}
        seen |= {call for call in calls if call.partition(" ")[0] in cached}  # and may be called in later tests
        calls = calls | seen if passed and seconds < SLOW else set()
        noted = {"id": item.nodeid, "test": of_test(item), "seconds": seconds, "calls": sorted(calls)}
        report({**noted, "passed": bool(calls) or (passed and seconds < SLOW)})
    report({"modules": [name for name in sys.modules if not name.startswith(("test", "_", "conftest"))]})
