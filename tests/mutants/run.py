"""Mutation testing of the core: plants small faults, one at a time, and checks that a test fails: `make mutants`.

The tests that `targets.toml` names for a module are collected once, and each is run once to record which functions it
calls. They are run once more to compute what the project caches. Then each mutant gets a forked process in which its
function's code is replaced and the tests that call the function run, first those that killed others of its mutants,
then the fastest, until one fails or `--seconds` have passed. No file is changed and nothing is imported again: a
process per mutant would spend ten seconds importing torch and Flower.

A run ends after `--minutes`; its results are stored in `.mutants/`, and the next run resumes from there. A result holds
as long as the function is unchanged and the test that killed the mutant exists, and, for a survivor without a reason,
as long as its tests are unchanged. The run fails if a mutant survives for which `survivors.toml` gives no reason, or if
more than 5 % survive. The results of each module are entered in the table of `docs/mutants.md`.
"""

import argparse
import gc
import importlib
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import pytest
from calls import KEPT, ROOT, Calls, digest, in_fork, live_functions, own_caches, run_test
from hypothesis import HealthCheck, Phase, settings
from operators import Mutant, mutants_of
from results import KILLED, SURVIVED, Results, Row, write_table

HERE, PAGE = Path(__file__).parent, ROOT / "docs" / "mutants.md"
MOST_SURVIVORS = 0.05
ALIKE = 4
"""Number of cases of one parametrised test that run before further cases of the others."""
MEMORY = 2 << 30
"""Address space that a mutant may take beyond what is in use, in bytes."""
LEAST_SECONDS = 10.0
"""Processor time that a test may take in any case, in seconds: what is cached otherwise is computed again."""
QUIET = ["-s", "--import-mode=importlib", "-o", "addopts=", "-m", "not deployment"]
QUIET += [f"-pno:{plugin}" for plugin in ("terminal", "timeout", "xdist", "cacheprovider", "faulthandler")]


class Mutants:
    """A pytest plugin that runs the session's tests once for each mutant, instead of once.

    Args:
        targets: test files of each module, relative to the repository.
        results: results of earlier runs; new ones are added.
        minutes: time limit, or None.
        seconds: time limit for the tests of a mutant; one that only slower tests notice has survived.
        sample: largest number of mutants tried per module, or None.
        seed: seed of the samples.
    """

    def __init__(
        self,
        targets: Mapping[str, list[str]],
        results: Results,
        *,
        minutes: float | None = None,
        seconds: float,
        sample: int | None = None,
        seed: int = 0,
    ) -> None:
        self.targets, self.results, self.seconds, self.sample, self.seed = targets, results, seconds, sample, seed
        self.sources = {module: (ROOT / module).read_text() for module in targets}
        self.ends = float("inf") if minutes is None else time.monotonic() + 60 * minutes
        self.warm: set[str] = set()
        self.rows: list[Row] = []
        self.unexplained: list[str] = []

    def pytest_configure(self) -> None:
        """After `tests/conftest.py`: the same examples for every mutant, and no time to make a failure small."""
        phases, unhealthy = (Phase.explicit, Phase.generate), list(HealthCheck)
        settings.register_profile(
            "mutants", database=None, derandomize=True, deadline=None, phases=phases, suppress_health_check=unhealthy
        )
        settings.load_profile("mutants")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.out = os.fdopen(os.dup(1), "w", buffering=1)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):  # what tests print
            os.dup2(nothing, stream)
        self.temporary: Any = session.config._tmp_path_factory  # type: ignore[attr-defined]
        self.folder = self.temporary.getbasetemp()
        try:
            self.try_all(session)
        except Exception:
            self.say(traceback.format_exc())
            raise
        return True

    def try_all(self, session: pytest.Session) -> None:
        self.session = session
        digest(*{item.path for item in session.items})  # as they were collected, whatever is edited meanwhile
        self.calls = Calls(self.sources, self.say)
        for module, tests in self.targets.items():
            files = [ROOT / test for test in tests]
            items = [item for item in session.items if item.path in files or set(item.path.parents) & set(files)]
            self.try_module(module, self.sources[module], items)

    def say(self, line: str) -> None:
        print(line, file=self.out)

    def warm_up(self, items: list[pytest.Item]) -> None:
        """Run tests here, in the order in which mutants meet them, and leave out those that fail in it.

        Afterwards, forked processes find what the project caches, unless their mutant may change it, and what fixtures
        make for a whole session.
        """
        gc.unfreeze()
        for module in self.sources:  # some are imported only when they are used
            importlib.import_module(".".join(Path(module).with_suffix("").parts[1:]))
        self.calls.note(items)
        self.live, self.caches = live_functions(), own_caches()
        self.temporary._basetemp = self.folder
        chosen = self.quickest([item for item in items if self.calls.of(item)])
        for item, following in zip(chosen, [*chosen[1:], self.session], strict=True):
            started = time.process_time()
            if run_test(item, following):
                self.calls.took(item, time.process_time() - started)
            else:
                self.calls.leave_out(item)
        gc.collect()
        gc.freeze()  # so that a fork's collector does not copy every page

    def try_module(self, module: str, source: str, items: list[pytest.Item]) -> None:
        mutants = list(mutants_of(source, str(ROOT / module)))
        chosen = mutants
        if self.sample is not None and self.sample < len(mutants):
            chosen = random.Random(f"{self.seed} {module}").sample(mutants, self.sample)
        tests, ids = digest(*sorted({item.path for item in items})), {item.nodeid for item in items}
        finders: dict[str, list[pytest.Item]] = defaultdict(list)
        for mutant in chosen:
            if self.results.of(module, mutant, tests, ids) or time.monotonic() > self.ends:
                continue
            if not self.warm >= ids:
                self.warm_up(items)
                self.warm |= ids
            function = f"{module} {mutant.function[0]}"
            known = finders[function]
            quick = self.quickest([item for item in items if function in self.calls.of(item) and item not in known])
            finder = self.finder([*known, *quick], mutant, str(ROOT / module))
            if finder:
                known[:] = [finder, *(item for item in known if item != finder)]
            result, by = (KILLED, finder.nodeid) if finder else (SURVIVED, None)
            self.results.add(module, mutant, result, tests=tests, by=by)
        found = {f"{module} | {mutant.name}": self.results.of(module, mutant, tests, ids) for mutant in chosen}
        survivors = [name for name, result in found.items() if result == SURVIVED and name not in self.results.reasons]
        for name in survivors:
            self.say(f"SURVIVED {name}")
        self.unexplained += survivors
        for name in self.results.reasons:
            if name.startswith(f"{module} | ") and len(chosen) == len(mutants) and found.get(name, KILLED) == KILLED:
                self.say(f"NEEDS NO REASON {name}")
        row = self.results.row(module, mutants, tests, ids)
        self.rows.append(row)
        self.say(str(row))

    def quickest(self, items: list[pytest.Item]) -> list[pytest.Item]:
        """As many as the seconds suffice for: the first cases of every test, then further ones, each by their time."""
        cases: Counter[str] = Counter()
        order = []
        for item in sorted(items, key=self.calls.seconds):
            name = item.nodeid.partition("[")[0]
            order.append((cases[name] // ALIKE, len(order), item))
            cases[name] += 1
        order.sort()
        times = accumulate(self.calls.seconds(item) for _, _, item in order)
        return [item for (_, _, item), until in zip(order, times, strict=True) if until < self.seconds]

    def finder(self, items: list[pytest.Item], mutant: Mutant, path: str) -> pytest.Item | None:
        """The first test that notices: it fails, needs ten times as long, or dies."""
        if not items:
            return None
        functions = self.live[path, mutant.function]
        if not functions:
            raise RuntimeError(f"{mutant.function[0]} of {path} is not imported, or the file has changed since.")
        folder = Path(tempfile.mkdtemp())

        def act(report: Any) -> None:
            self.temporary._basetemp = folder
            for cache, files in self.caches.items():
                if Path(path) in files:
                    cache.cache_clear()
            for function in functions:
                function.__code__ = mutant.codes[mutant.function]
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY,) * 2)
            for stop in (signal.SIGPROF, signal.SIGALRM):
                signal.signal(stop, signal.SIG_DFL)
            for index, (item, following) in enumerate(zip(items, [*items[1:], self.session], strict=True)):
                seconds = LEAST_SECONDS + 10 * self.calls.seconds(item)
                signal.setitimer(signal.ITIMER_PROF, seconds)
                signal.alarm(int(120 + 60 * seconds))  # for what waits and computes nothing
                report(index)
                if not run_test(item, following):
                    raise AssertionError

        passed, reports = in_fork(act)
        shutil.rmtree(folder, ignore_errors=True)
        if passed:
            return None
        started = [report for report in reports if isinstance(report, int)]
        if not started:
            raise RuntimeError(f"A forked process ended before its first test: {reports}")
        return items[started[-1]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, help="Minutes to run for; the next run resumes.")
    parser.add_argument("--seconds", type=float, default=30.0, help="Seconds that the tests of one mutant may take.")
    parser.add_argument("--only", nargs="+", default=[""], help="Modules whose path contains one of these.")
    parser.add_argument("--sample", type=int, help="Mutants to try per module. Default: all.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the samples.")
    options = parser.parse_args()
    all_targets = tomllib.loads((HERE / "targets.toml").read_text())
    targets = {module: tests for module, tests in all_targets.items() if any(each in module for each in options.only)}
    if missing := [path for path in {*targets, *chain(*targets.values())} if not (ROOT / path).exists()]:
        sys.exit(f"targets.toml names what is not there: {', '.join(missing)}")
    groups = tomllib.loads((HERE / "survivors.toml").read_text()).get("group", [])
    reasons = {name: group["reason"] for group in groups for name in group["mutants"]}
    results = Results(KEPT / "results.jsonl", reasons, seconds=options.seconds)
    chosen = {name: getattr(options, name) for name in ("minutes", "seconds", "sample", "seed")}
    plugin = Mutants(targets, results, **chosen)
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        files = sorted(set(chain(*targets.values())))
        code = pytest.main([*QUIET, f"--rootdir={ROOT}", f"--basetemp={folder}/t", *files], plugins=[plugin])
    os.dup2(plugin.out.fileno(), 1)
    if code:
        print("The run broke off. If nothing is printed above, pytest could not collect the tests.")
        return int(code)
    write_table(PAGE, plugin.rows, all_targets)
    total = Row.total(plugin.rows)
    print(total)
    return int(bool(plugin.unexplained) or total.survived > MOST_SURVIVORS * total.tried)


if __name__ == "__main__":
    sys.exit(main())
