"""The loop: a run is kept going, a fault comes every few seconds, and everything is looked at after each run."""

import argparse
import gc
import importlib
import random
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from tests.soak.checks import Checks
from tests.soak.faults import Faults
from tests.soak.federation import LABELS, Federation
from tests.soak.growth import STRANGERS_BOUND, Growth
from tests.soak.publishing import Publishing
from tests.soak.runs import Runs, described

from sottovoce_server.home.runs import RunFolder

GLANCE = 0.1
PROGRESS_SECONDS = 60.0
UP_SECONDS = 600.0
"""Time within which all services are up, seconds."""
CALM = (0.5, 2.0, 6.0)
"""Factors of the mean pause between faults, one drawn for each run, so that some runs are published."""
PATIENCE_SECONDS = 120.0
"""Time that a fault waits for a run at work, seconds, unless the run is one with many faults."""
RECOVERY_SECONDS = 240.0
"""Time within which a label that was hit is connected again, seconds: heartbeats, and imports on a busy machine."""
SIGN_EVERY = 4
"""Runs under one agreement."""
IMPORTED = (
    "sottovoce.cli",
    "sottovoce.models.initialisation",
    "sottovoce.release.publish",
    "sottovoce.release.pull",
    "sottovoce_client.home.examination",
    "sottovoce_server.flower.control",
    "sottovoce_server.rounds.submission",
)
"""What commands use: they are forks of this process."""
LAST_SECONDS = 900.0
"""Time for the last, undisturbed run, seconds."""


class Soak:
    """Everything of one soak."""

    def __init__(self, root: Path, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.random = random.Random(asked.seed)
        self.complaints: list[str] = []
        self.federation = Federation(root, asked.out.absolute() / "music")
        self.runs = Runs(self.federation, self.over, self.complain, asked.timeout)
        self.publishing = Publishing(self.federation, self.complain)
        self.faults = Faults(self.federation, self.random, lambda: self.runs.processes() + self.publishing.processes())
        self.checks = Checks(self.federation, self.complain)
        self.growth = Growth(self.federation)
        self.signed = 0
        self._sign_due = False
        self._began = time.monotonic()
        self.last: tuple[RunFolder, str] | None = None
        self._said = 0.0
        self._calm = 2.0

    def say(self, words: str) -> None:
        sys.stdout.write(f"{time.monotonic() - self._began:7.0f} s  {words}\n")
        sys.stdout.flush()

    def complain(self, words: str) -> None:
        """Something that must not be."""
        self.complaints.append(words)
        self.say(f"COMPLAINT {words}")

    def over(self, folder: RunFolder, state: str) -> None:
        """A run is over."""
        values = described(folder)
        rounds = [len(each["survivors"]) for each in values.get("history", {}).get("rounds", [])]
        self.say(f"run {folder.run[:8]} {state}, rounds of {rounds} {values.get('message') or ''}")
        since = self.runs.publishing_since or time.monotonic()
        self.checks.run_over(folder, state, undisturbed=self.faults.undisturbed(since - RECOVERY_SECONDS))
        self.growth.measure()
        if state == "published":
            self.publishing.add(folder.release)
        self.last = folder, state
        self._calm = self.random.choice(CALM)
        self._sign_due = self.runs.ends.total() % SIGN_EVERY == 0

    def sign(self) -> None:
        """People sign the agreement anew: other noise, and now and then a label leaves or comes back."""
        self.faults.end_all()
        noise = self.random.choice(("local", "distributed"))
        away = self.random.choice((*LABELS, None, None, None))
        members = [name for name in LABELS if name != away]
        self.say(f"the agreement is signed anew: {noise} noise, {', '.join(members)}")
        self.federation.sign(noise, members)
        self.federation.restart()
        self.signed += 1
        self._sign_due = False
        for name in (*members, "coordinator"):
            self.faults.hit[name] = time.monotonic()

    def tick(self, begin: bool = True) -> None:
        self.federation.tick()
        self.faults.tick()
        self.runs.tick(begin and not self._sign_due)
        self.publishing.tick()
        time.sleep(GLANCE)

    def play(self) -> None:
        """All faults, or those that fit in the time."""
        ends = self._began + 60 * self.asked.minutes
        due = time.monotonic()
        while self.faults.total < self.asked.faults and time.monotonic() < ends:
            self.tick()
            if self._sign_due and self.runs.idle and self.publishing.idle:
                self.sign()
            late = time.monotonic() >= due + PATIENCE_SECONDS
            if time.monotonic() >= due and (self._calm < 1 or self.runs.at_work or late):
                self.say(self.faults.inject())
                due = time.monotonic() + self.asked.every * self._calm * self.random.uniform(0.5, 1.5)
            if time.monotonic() > self._said + PROGRESS_SECONDS:
                self._said = time.monotonic()
                self.say(
                    f"-- {self.faults.total} faults, runs: {dict(self.runs.ends)}, {len(self.complaints)} complaints"
                )

    def quiet(self) -> None:
        """No more faults: what is under way ends, and a last run is published and signed by all."""
        self.faults.end_all()
        self.say("-- no more faults")
        self.wait(lambda: self.runs.idle and self.publishing.idle, "what is under way ends", begin=False)
        self._sign_due = False
        self.federation.sign("distributed", LABELS)
        self.federation.restart()
        self.last = None
        self.wait(lambda: self.last, "the last run ends", begin=True)
        self.wait(lambda: self.publishing.idle, "its release is published and pulled", begin=False)
        folder, state = self.last or (None, "none")
        rounds = [each["survivors"] for each in folder.progress()["history"]["rounds"]] if folder else []
        if state != "published" or any(len(survivors) != len(LABELS) for survivors in rounds):
            self.complain(f"an undisturbed run ended as {state}, with rounds of {rounds}")
        elif folder and folder.progress()["not_cosigned"]:
            self.complain(f"an undisturbed run was not signed by all: {folder.progress()['not_cosigned']}")

    def wait(self, holds: Any, what: str, *, begin: bool) -> None:
        end = time.monotonic() + 2 * LAST_SECONDS
        while not holds():
            if time.monotonic() > end:
                self.complain(f"within {2 * LAST_SECONDS:g} s this did not come: {what}")
                return
            self.tick(begin)

    def summary(self) -> dict[str, Any]:
        return {
            "seed": self.asked.seed,
            "minutes": round((time.monotonic() - self._began) / 60, 1),
            "faults": self.faults.total,
            "faults_by_kind": dict(self.faults.counts.most_common()),
            "runs": dict(self.runs.ends),
            "resumed_by_command": self.runs.resumed,
            "sums_by_labels": dict(sorted(self.checks.rounds.items())),
            "aborted_rounds": self.checks.aborted,
            "cosignatures": dict(sorted(self.checks.cosigned.items())),
            "agreements_signed": self.signed,
            "releases_pulled": self.publishing.pulled,
            "longest_run_seconds": round(self.runs.longest),
            "starts": {name: unit.starts for name, unit in self.federation.units.items()},
            "said_by_commands": dict((self.runs.messages + self.publishing.messages).most_common()),
            "tracebacks_of_flower": dict(self.checks.foreign.most_common()),
            "growth": self.growth.figures(),
            "complaints": self.complaints,
        }


def soak(root: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Set up, inject faults, look, and sum up."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    it = Soak(root, asked)
    strange: dict[str, Any] = {}
    try:
        it.say("setting up")
        it.federation.create()
        it.federation.start()
        up = it.federation.healthy
        it.federation.until(lambda: all(map(up, it.federation.health)), "services are up", UP_SECONDS)
        it.say("services are up")
        it.play()
        it.quiet()
        it.growth.measure()
        it.complaints += it.growth.beyond()
        if asked.ports:
            from tests.soak.ports import strangers

            strange = strangers(it)
            it.growth.measure()
            it.complaints += it.growth.beyond(STRANGERS_BOUND)
        it.federation.stop()
        it.checks.logs()
        it.checks.end()
    except Exception as error:
        it.complain(f"the soak itself ended: {error!r}: {traceback.format_exc()}")
    finally:
        it.federation.stop()
    return it.summary() | {"ports": strange}
