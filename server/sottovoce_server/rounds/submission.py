"""Submits a run to the SuperLink and reports its progress until it ends."""

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
from sottovoce_server.home.runs import ENDED as ENDED_FOR_GOOD
from sottovoce_server.home.runs import Order, RunFolder

POLL_SECONDS = 0.5
ASK_SECONDS = 5.0
"""Interval at which the SuperLink is asked whether the run exists, seconds; progress is read from its folder."""
GONE_SECONDS = 20.0
"""Time that the SuperLink may be silent (it may be busy) before it counts as stopped, seconds."""
LAST_WORD_SECONDS = 3.0
"""Time for an ended run to record its end in its folder, seconds."""
ENDING_SECONDS = 45.0
"""Time for a process that lost its SuperLink to end, seconds: it retries every 20 s."""
ENDED = ("published", "failed")


class RunFailed(SottovoceError):
    """The run ended without a release."""


def ordered(
    agreement: Agreement,
    *,
    classes: str,
    name: str | None,
    patience: float,
    timeout: float,
    request: RunRequest,
) -> Order:
    """The order of a new run for the coordinator's app.

    Args:
        agreement: the federation's agreement.
        classes: styles, separated by commas.
        name: name of the release, or None for one made from federation, task and family.
        patience: seconds to wait for labels.
        timeout: longest time of one exchange, seconds.
        request: further settings; whether noise is distributed follows from the agreement.

    Raises:
        ConfigurationError: the run cannot be configured.
    """
    styles = tuple(sorted({style.strip() for style in classes.split(",") if style.strip()}))
    if len(styles) < 2:
        raise ConfigurationError(
            "A run needs two or more styles that all labels agree on.", hint="Example: --classes blues,chorale,techno"
        )
    distributed = agreement.noise is Trust.DISTRIBUTED and request.private
    agreed = replace(request, min_honest=agreement.min_honest if distributed else None)
    config = configure_run(agreed, classes=styles, labels=len(agreement.members))
    release = name or f"{agreement.federation}-{config.task}-{config.family}"
    return Order(Announcement.of(agreement, config), release, patience, timeout, init=request.init)


def resumed(home: ServerHome, control: Control, run: str, *, patience: float, timeout: float) -> RunFolder:
    """The folder of an interrupted run, ordered to resume.

    Args:
        home: the coordinator's home.
        control: connection to its SuperLink.
        run: the run's id, or a prefix of it.
        patience: seconds to wait for labels.
        timeout: longest time of one exchange, seconds.

    Raises:
        ConfigurationError: the run does not exist, is running, published or ended for good, or has no saved state.
    """
    folder = RunFolder.of(home, run)
    if folder.progress()["state"] == "published":
        raise ConfigurationError("This run is finished: its release is published.")
    ending = folder.keeper.ending.read()
    if folder.progress()["state"] == ENDED_FOR_GOOD or (ending and not ending.over.has_model):
        raise ConfigurationError(
            "This run has ended for good: its labels have left it.", hint="Start a new one: sottovoce server train"
        )
    with notes().status("Waiting for this run's process to end"):
        ended = folder.given_up(ENDING_SECONDS)
    if not ended:
        raise ConfigurationError(
            "This run is still running.", hint=f"Stop it first: sottovoce server stop {folder.run[:8]}"
        )
    folder.keeper.load()
    for each in control.runs():
        if each.name == folder.run and not each.over:  # Flower is waiting for a process that has ended
            control.stop(each.number)
    folder.write_order(replace(folder.order(), resume=True, patience=patience, timeout=timeout))
    return folder


def say_over(folder: RunFolder, control: Control) -> None:
    """Have the coordinator's app tell the connected labels that a run has ended for good."""
    control.start(*build_bundle(), folder.run)


def submit(folder: RunFolder, control: Control) -> int:
    """Submit a run to the SuperLink; return Flower's run number."""
    folder.forget_progress()
    return control.start(*build_bundle(), folder.run)


def follow(folder: RunFolder, control: Control, number: int) -> dict[str, Any]:
    """Report a run's progress on standard error until it ends.

    Returns:
        `run`, `release` (its folder), `rounds` and `metrics`.

    Raises:
        RunFailed: the run ended without a release, or the SuperLink stopped.
        KeyboardInterrupt: the user stopped watching; the run continues.
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
                    progress["hint"] = f"To resume it: sottovoce server train --resume {folder.run[:8]}"
                    break
                time.sleep(POLL_SECONDS)
    except SuperLinkGone as gone:
        raise RunFailed(
            "The SuperLink stopped during the run.",
            hint="`sottovoce server start` resumes the run; if it does not: "
            f"sottovoce server train --resume {folder.run[:8]}",
        ) from gone
    except KeyboardInterrupt:
        say(notes(), "The run continues", f"to stop it: sottovoce server stop {folder.run[:8]}", "bold")
        raise
    if progress["state"] == "failed":
        failure = RunFailed(progress["message"], hint=progress["hint"])
        failure.exit_code = progress["exit_code"]
        raise failure
    history = progress["history"]
    return {"run": folder.run, "release": progress["release"], **history}


class _Watch:
    """Detects that Flower's process of a run has ended without recording it in the run's folder."""

    def __init__(self, control: Control, number: int) -> None:
        self._control = control
        self._number = number
        self._asked = self._answered = time.monotonic()
        self._over_at: float | None = None

    def ended(self) -> bool:
        """Whether the process has ended.

        Raises:
            SuperLinkGone: the SuperLink has been silent for too long.
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
    """Prints the progress of a run's folder, each line once; on a terminal, with a status of what it waits for."""

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
        """Print what is new."""
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
            self._once(f"{counted(len(history['promises']), 'label')} joined{_in_version(history)}")
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


def _in_version(history: Mapping[str, Any]) -> str:
    behind = ", ".join(history.get("behind", ()))
    return f", in version {history['protocol']} of the protocol: no newer one with {behind}" if behind else ""


def _line(record: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    named = f"; lied: {', '.join(record['liars'])}" if record["liars"] else ""
    named += "".join(f"; one of {' and '.join(pair)} lied" for pair in record["disputes"])
    if record["unfollowed"]:
        named += f"; its model does not follow from the sums, according to {', '.join(record['unfollowed'])}"
    if record["aborted"]:
        return f"round {record['number']}: aborted. {record['aborted']}{named}"
    line = f"round {record['number']}: {len(record['survivors'])} of {counted(len(record['participants']), 'label')}"
    figures = metrics.get(str(record["number"] - 1))
    if figures:
        line += "; before it, " + ", ".join(f"{name} {value}" for name, value in shown_figures(figures).items())
    return f"{line}; {record['seconds']:.0f} s{named}"
