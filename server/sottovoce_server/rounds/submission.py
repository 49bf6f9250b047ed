"""Submits a run to the SuperLink and tells how it goes, until it has ended."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rich.console import Console

from sottovoce.commands.output import counted, notes, say
from sottovoce.errors import ConfigurationError, SottovoceError
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.refusals import RefusalReason
from sottovoce.protocol.messages import Announcement
from sottovoce.run.configuration import Trust
from sottovoce.run.configure import configure_run
from sottovoce.run.metrics import shown as shown_figures
from sottovoce.run.request import RunRequest
from sottovoce_server.flower.configuration_bundle import build_bundle
from sottovoce_server.flower.control import Control, SuperLinkGone
from sottovoce_server.home.coordinator_home import ServerHome
from sottovoce_server.home.runs import Order, RunFolder

POLL_SECONDS = 0.5
ASK_SECONDS = 5.0
"""How often the SuperLink is asked whether it still knows of the run; the run's folder says how far it is."""
GONE_SECONDS = 20.0
"""How long the SuperLink may be silent, as a busy one is, before it counts as gone."""
LAST_WORD_SECONDS = 3.0
"""How long a run that has ended may take to say so in its folder."""
ENDING_SECONDS = 45.0
"""How long a process that lost its SuperLink may take to end: it may be between two tries, 20 s apart, to reach it."""
ENDED = ("published", "failed")


class RunFailed(SottovoceError):
    """The run has ended without a release."""


def ordered(
    agreement: Agreement,
    *,
    classes: str,
    name: str | None,
    patience: float,
    timeout: float,
    request: RunRequest,
) -> Order:
    """What the app is told to do for a new run.

    Args:
        agreement: the federation's.
        classes: styles, separated by commas.
        name: of the release, or None for one made of the federation's, the task and the family.
        patience: seconds to wait for labels.
        timeout: seconds of one exchange.
        request: what else the coordinator asks of the run; whether noise is distributed is the agreement's to say.

    Raises:
        ConfigurationError: a run cannot be configured so.
    """
    styles = tuple(sorted({style.strip() for style in classes.split(",") if style.strip()}))
    if len(styles) < 2:
        raise ConfigurationError(
            "A run needs two or more styles that all labels agree on.", hint="As in: --classes blues,chorale,techno"
        )
    distributed = agreement.noise is Trust.DISTRIBUTED and request.private
    agreed = replace(request, min_honest=agreement.min_honest if distributed else None)
    config = configure_run(agreed, classes=styles, labels=len(agreement.members))
    release = name or f"{agreement.federation}-{config.task}-{config.family}"
    return Order(Announcement.of(agreement, config), release, patience, timeout, init=request.init)


def resumed(home: ServerHome, control: Control, run: str, *, patience: float, timeout: float) -> RunFolder:
    """The folder of a run that broke off, told to go on.

    Args:
        home: the coordinator's.
        control: its SuperLink.
        run: the run's id, or the beginning of it.
        patience: seconds to wait for labels.
        timeout: seconds of one exchange.

    Raises:
        ConfigurationError: there is no such run, it is under way or published, or it has kept nothing.
    """
    folder = RunFolder.of(home, run)
    if folder.progress()["state"] == "published":
        raise ConfigurationError("This run has ended well: its release is published.")
    with notes().status("Waiting for the process that works on this run to end"):
        ended = folder.given_up(ENDING_SECONDS)
    if not ended:
        raise ConfigurationError(
            "This run is still under way.", hint=f"To end it first: sottovoce server stop {folder.run[:8]}"
        )
    folder.keeper.load()
    for each in control.runs():
        if each.name == folder.run and not each.over:  # Flower waits for a process that is gone
            control.stop(each.number)
    folder.write_order(replace(folder.order(), resume=True, patience=patience, timeout=timeout))
    return folder


def submit(folder: RunFolder, control: Control) -> int:
    """Hand a run to the SuperLink; Flower's number of it."""
    folder.forget_progress()
    return control.start(*build_bundle(), folder.run)


def follow(folder: RunFolder, control: Control, number: int) -> dict[str, Any]:
    """Tell on standard error how a run goes, until it has ended.

    Returns:
        `run`, `release` (its folder), `rounds` and `metrics`.

    Raises:
        RunFailed: it has ended without a release, or the SuperLink has.
        KeyboardInterrupt: somebody no longer wants to look on; the run goes on.
    """
    teller, watch = _Teller(notes()), _Watch(control, number)
    try:
        with teller:
            while True:
                progress = folder.progress()
                teller.tell(progress)
                if progress["state"] in ENDED:
                    break
                if watch.ended():
                    progress = {"state": "failed", "message": "The run was stopped or broke off.", "exit_code": 1}
                    progress["hint"] = f"To go on with it: sottovoce server train --resume {folder.run[:8]}"
                    break
                time.sleep(POLL_SECONDS)
    except SuperLinkGone as gone:
        raise RunFailed(
            "The SuperLink has ended while the run was under way.",
            hint=f"Start it again, then: sottovoce server train --resume {folder.run[:8]}",
        ) from gone
    except KeyboardInterrupt:
        say(notes(), "The run goes on", f"to stop it: sottovoce server stop {folder.run[:8]}", "bold")
        raise
    if progress["state"] == "failed":
        failure = RunFailed(progress["message"], hint=progress["hint"])
        failure.exit_code = progress["exit_code"]
        raise failure
    history = progress["history"]
    return {"run": folder.run, "release": progress["release"], **history}


class _Watch:
    """Notices that Flower's process of a run has ended without a word in the run's folder."""

    def __init__(self, control: Control, number: int) -> None:
        self._control = control
        self._number = number
        self._asked = self._answered = time.monotonic()
        self._over_at: float | None = None

    def ended(self) -> bool:
        """Whether it has.

        Raises:
            SuperLinkGone: the SuperLink has been silent for long.
        """
        now = time.monotonic()
        if self._over_at is not None:
            return now > self._over_at + LAST_WORD_SECONDS
        if now > self._asked + ASK_SECONDS:
            try:
                run = self._control.run(self._number)
            except SuperLinkGone:
                if time.monotonic() > self._answered + GONE_SECONDS:
                    raise
                self._asked = time.monotonic()
                return False
            self._asked = self._answered = time.monotonic()
            if run is None or run.over:
                self._over_at = self._answered
        return False


class _Teller:
    """Turns what a run's folder says into lines, each once; at a terminal, with a word on what it waits for."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("Submitted")
        self._rounds = 0
        self._refusals: set[str] = set()
        self._left_out: set[str] = set()
        self._joined = False
        self._said = ""

    def __enter__(self) -> "_Teller":
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def tell(self, progress: Mapping[str, Any]) -> None:
        """Say what is new."""
        if progress["state"] == "waiting":
            self._once(f"{progress['connected']} of {counted(progress['labels'], 'label')} connected")
        history = progress.get("history")
        if history is None:
            return
        for label, reason in history["refusals"].items():
            if label not in self._refusals:
                self._refusals.add(label)
                self._once(f"{label} declined: {RefusalReason(reason).explained}")
        if not self._joined:
            self._joined = True
            self._once(f"{counted(len(history['promises']), 'label')} joined")
        for record in history["rounds"][self._rounds :]:
            self._once(_line(record, history["metrics"]))
        self._rounds = len(history["rounds"])
        for label, why in history.get("left_out", {}).items():
            if label not in self._left_out:
                self._left_out.add(label)
                self._once(f"{label} is left out of the run: {why}")
        for label, why in progress.get("not_cosigned", {}).items():
            self._once(f"{label} did not co-sign the release: {why}")
        self._status.update("Training" if progress["state"] == "training" else "Publishing")

    def _once(self, line: str) -> None:
        if line != self._said:
            self._said = line
            self._console.print(line, soft_wrap=True, markup=False)


def _line(record: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    named = f"; lied: {', '.join(record['liars'])}" if record["liars"] else ""
    named += "".join(f"; one of {' and '.join(pair)} lied" for pair in record["disputes"])
    if record["unfollowed"]:
        named += f"; not the model that it follows from, say {', '.join(record['unfollowed'])}"
    if record["aborted"]:
        return f"round {record['number']}: aborted. {record['aborted']}{named}"
    line = f"round {record['number']}: {len(record['survivors'])} of {counted(len(record['participants']), 'label')}"
    figures = metrics.get(str(record["number"] - 1))
    if figures:
        line += "; before it, " + ", ".join(f"{name} {value}" for name, value in shown_figures(figures).items())
    return f"{line}; {record['seconds']:.0f} s{named}"
