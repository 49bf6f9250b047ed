"""Plants small faults in the core, one at a time, and sees whether a test fails: `make mutants`.

The tests that `targets.toml` names for a module are collected once. A first run notes which functions each test calls
and how long it takes; then each mutant gets a forked process, in which its function's code is exchanged and the tests
that call the function run, the quickest first, until one fails. No file is changed and nothing is imported anew: a
process for each mutant would spend ten seconds on importing torch and Flower.

A run ends after `--minutes`; what it found is kept in `.mutants.jsonl`, and the next run goes on from there. A result
holds as long as the module (and, of a survivor without a reason, its tests) stays as it is. The run fails if a mutant
survives that `survivors.toml` does not give a reason for, or if more than 5 % survive.
"""

import argparse
import gc
import hashlib
import importlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter, defaultdict
from functools import lru_cache
from itertools import accumulate, chain
from pathlib import Path
from types import FrameType, FunctionType

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import HealthCheck, Phase, settings
from operators import Mutant, functions_of, mutants_of

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
RESULTS = ROOT / ".mutants.jsonl"
MOST_SURVIVORS = 0.05
TESTS = 30.0
"""Time that the tests of a mutant may take, the quickest first, in seconds: what only others notice has survived."""
MEMORY = 8 << 30
"""Address space that a mutant may take beyond what is in use, in bytes."""
QUIET = ["-s", "--import-mode=importlib", "-o", "addopts=", "-m", "not slow and not deployment"]
QUIET += [f"-pno:{plugin}" for plugin in ("terminal", "timeout", "xdist", "cacheprovider", "faulthandler")]


def digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


class Mutants:
    """A pytest plugin that, instead of running the session's tests once, runs them for each mutant.

    Args:
        targets: test files of each module, relative to the repository.
        minutes: to run for, or None.
        reasons: of mutants that are expected to survive.
    """

    def __init__(self, targets: dict[str, list[str]], minutes: float | None, reasons: dict[str, str]) -> None:
        self.targets = targets
        self.ends = time.monotonic() + 60 * minutes if minutes else float("inf")
        lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
        self.known = {line["key"]: line for line in map(json.loads, lines)}
        self.reasons = reasons
        self.results: dict[str, str] = {}
        """By "module | mutant": killed, survived, not run."""
        self.error: Exception | None = None
        self.calls: dict[str, set[tuple[str, int]]] = {}
        self.seconds: dict[str, float] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.out = os.fdopen(os.dup(1), "w", buffering=1)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):  # what tests print
            os.dup2(nothing, stream)
        for module in self.targets:  # some are imported only when they are used
            importlib.import_module(".".join(Path(module).with_suffix("").parts[1:]))
        self.sources = {module: (ROOT / module).read_text() for module in self.targets}  # as it was imported
        self.live: dict[tuple[str, tuple[str, int]], list[FunctionType]] = defaultdict(list)
        modules = {str(ROOT / module) for module in self.targets}
        for each in gc.get_objects():
            if isinstance(each, FunctionType) and each.__code__.co_filename in modules:
                code = each.__code__
                self.live[code.co_filename, (code.co_qualname, code.co_firstlineno)].append(each)
        self.caches = [each for each in gc.get_objects() if isinstance(each, type(lru_cache(digest)))]
        for module, tests in self.targets.items():
            files = [ROOT / test for test in tests]
            items = [item for item in session.items if item.path in files or set(item.path.parents) & set(files)]
            try:
                self.run(module, items)
            except RuntimeError as error:
                self.error = error
                raise
        return True

    def first_run(self, items: list[pytest.Item]) -> None:
        """Note the places of the functions that each test calls, and how many seconds it takes."""
        files = {str(ROOT / module) for module in self.targets}
        items = [item for item in items if item.nodeid not in self.calls]
        for item, following in zip(items, [*items[1:], None], strict=False):
            called: set[tuple[str, int]] = set()

            def note(frame: FrameType, event: str, _: object, called: set[tuple[str, int]] = called) -> None:
                if event == "call" and frame.f_code.co_filename in files:
                    called.add((frame.f_code.co_filename, frame.f_code.co_firstlineno))

            started = time.process_time()
            sys.setprofile(note)
            reports = runtestprotocol(item, nextitem=following, log=False)
            sys.setprofile(None)
            if any(report.failed for report in reports):
                print(f"Left out, since it fails without a mutant: {item.nodeid}", file=self.out)
                called.clear()
            self.calls[item.nodeid], self.seconds[item.nodeid] = called, time.process_time() - started

    def run(self, module: str, items: list[pytest.Item]) -> None:
        path, source = ROOT / module, self.sources[module]
        tests = digest(*(file.read_text() for file in sorted({item.path for item in items})))
        checked = False
        for mutant in mutants_of(source, str(path)):
            name = f"{module} | {mutant.name}"
            key = f"{digest(source)} {name}"
            line = self.known.get(key, {"result": "not run", "tests": tests})
            if line["result"] == "survived" and line["tests"] != tests and name not in self.reasons:
                line = {"result": "not run"}
            if line["result"] == "not run" and time.monotonic() < self.ends:
                self.first_run(items)
                if not checked:
                    checked = True
                    unchanged = Mutant("unchanged", mutant.function, functions_of(compile(source, str(path), "exec")))
                    if self.try_out(unchanged, str(path), self.quickest(items)) == "killed":
                        raise RuntimeError(f"The tests of {module} fail in a forked process, without a mutant.")
                place = (str(path), mutant.function[1])
                quick = self.quickest([item for item in items if place in self.calls[item.nodeid]])
                line = {"key": key, "result": self.try_out(mutant, str(path), quick), "tests": tests}
                with RESULTS.open("a") as file:
                    file.write(json.dumps(line) + "\n")
            self.results[name] = line["result"]
        print(module, dict(Counter(v for k, v in self.results.items() if k.startswith(module))), file=self.out)

    def quickest(self, items: list[pytest.Item]) -> list[pytest.Item]:
        """Those that pass by themselves, in the order of their seconds, as many as take `TESTS` together."""
        items = sorted((i for i in items if self.calls[i.nodeid]), key=lambda item: self.seconds[item.nodeid])
        times = accumulate(self.seconds[item.nodeid] for item in items)
        return [item for item, until in zip(items, times, strict=True) if until < TESTS]

    def try_out(self, mutant: Mutant, path: str, items: list[pytest.Item]) -> str:
        """Whether a test notices: fails, needs ten times as long, or dies."""
        functions = self.live[path, mutant.function]
        if not functions:
            raise RuntimeError(f"{mutant.function[0]} of {path} is not imported, or the file has changed since.")
        child = os.fork()
        if not child:
            try:
                for cache in self.caches:
                    cache.cache_clear()
                for function in functions:
                    function.__code__ = mutant.codes[mutant.function]
                limit = 10 + 10 * sum(self.seconds[item.nodeid] for item in items)
                resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + limit),) * 2)
                used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
                resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY,) * 2)
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(int(60 + 5 * limit))  # for what waits and computes nothing
                for item, following in zip(items, [*items[1:], None], strict=True):
                    if any(report.failed for report in runtestprotocol(item, nextitem=following, log=False)):
                        os._exit(1)
                os._exit(0)
            except BaseException:
                os._exit(1)
        return "killed" if os.waitpid(child, 0)[1] else "survived"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, help="Minutes to run for; the next run goes on.")
    parser.add_argument("--only", default="", help="Modules whose path holds this.")
    options = parser.parse_args()
    targets = tomllib.loads((HERE / "targets.toml").read_text())
    targets = {module: tests for module, tests in targets.items() if options.only in module}
    if missing := [path for path in {*targets, *chain(*targets.values())} if not (ROOT / path).exists()]:
        sys.exit(f"targets.toml names what is not there: {', '.join(missing)}")
    groups = tomllib.loads((HERE / "survivors.toml").read_text()).get("group", [])
    reasons = {name: group["reason"] for group in groups for name in group["mutants"]}
    # The same examples for every mutant, and no time to make a failure small.
    phases, unhealthy = (Phase.explicit, Phase.generate), list(HealthCheck)
    settings.register_profile(
        "mutants", database=None, derandomize=True, deadline=None, phases=phases, suppress_health_check=unhealthy
    )
    settings.load_profile("mutants")
    plugin = Mutants(targets, options.minutes, reasons)
    with tempfile.TemporaryDirectory() as folder:
        arguments = [
            *QUIET,
            f"--rootdir={ROOT}",
            f"--basetemp={folder}/t",
            *sorted(set(chain(*targets.values()))),
        ]
        os.chdir(ROOT)
        code = pytest.main(arguments, plugins=[plugin])
    os.dup2(plugin.out.fileno(), 1)
    if code:
        print(f"The run broke off: {plugin.error or 'pytest could not collect the tests.'}")
        return int(code)
    found = Counter(plugin.results.values())
    survivors = [name for name, result in plugin.results.items() if result == "survived"]
    unexplained = [name for name in survivors if name not in reasons]
    for name in unexplained:
        print("SURVIVED", name)
    ran = found["killed"] + found["survived"]
    print(f"{ran + found['not run']} mutants: {found['killed']} killed, {found['survived']} survived "
          f"({len(survivors) - len(unexplained)} with a reason), {found['not run']} not run.")  # fmt: skip
    return int(bool(unexplained) or found["survived"] > MOST_SURVIVORS * ran)


if __name__ == "__main__":
    sys.exit(main())
