"""Folders of runs: each with its order, progress, checkpoint and release."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sottovoce.canonical import canonical_json
from sottovoce.errors import ConfigurationError
from sottovoce.files import folder_aside, write_bytes
from sottovoce.protocol.message import FORMER_VERSION
from sottovoce.protocol.messages import Announcement, decode
from sottovoce.versioned import Format, Versioned
from sottovoce_server.home.coordinator_home import ServerHome
from sottovoce_server.rounds.checkpoint import Keeper

VERSION = 2
"""Version of `order.json`. The first, without a number, held announcements of masked rounds of version 1."""
LEAVE_OUT_VERSION = 1
"""Version of `leave-out.json`."""
_RUN = re.compile(r"[0-9a-f]{32}")
BROKE_OFF = "broke off"
ENDED = "ended"
"""State of a run that the coordinator's people ended for good."""
SUBMITTED = "submitted"
UNREADABLE = "unreadable"
AT_WORK = ("waiting", "training", "publishing")
"""States that a run's process reports while it works."""
OVER = ("published", ENDED, "failed")
"""States of a run that is not at work; resuming it begins by forgetting the state."""
GLANCE_SECONDS = 2.0
"""Time that a process starting work on a run waits for others that only check whether it is locked, seconds."""
ORDER_HINT = "Continue with the release that began the run, or start a new one: sottovoce server train"
BEGUN = "begun"
"""Name of an empty file whose modification time is the run's creation time."""


@dataclass(frozen=True)
class Order:
    """Instructions from the command line to the coordinator's app.

    Args:
        announcement: the run's announcement.
        name: name of the release.
        patience: seconds to wait for all labels; afterwards `n_min` of them suffice.
        timeout: longest time of one exchange, seconds.
        resume: continue from the checkpoint.
        init: initial parameters, as for `sottovoce.models.initialisation.initial_parameters`.
    """

    announcement: Announcement
    name: str
    patience: float
    timeout: float
    resume: bool = False
    init: str | None = None


class _KeptOrder(Versioned):
    announcement: str
    name: str
    patience: float
    timeout: float
    resume: bool
    init: str | None


def _order(kept: _KeptOrder) -> Order:
    announcement = decode(bytes.fromhex(kept.announcement))
    if not isinstance(announcement, Announcement):
        raise TypeError("it holds another message than an announcement")
    return Order(announcement, kept.name, kept.patience, kept.timeout, kept.resume, kept.init)


class _KeptNames(Versioned):
    labels: dict[str, str]


_ORDER = Format(_KeptOrder, _order, VERSION, "The run's order", hint=ORDER_HINT)
_LEFT_OUT = Format(
    _KeptNames,
    lambda kept: kept.labels,
    LEAVE_OUT_VERSION,
    "The list of labels that are left out",
    hint="Restore it from a backup; or delete it, and: sottovoce server leave-out LABEL --run RUN",
)


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run.

    Args:
        folder: within the coordinator's home.
    """

    folder: Path

    @classmethod
    def of(cls, home: ServerHome, run: str) -> "RunFolder":
        """The folder of a run by its id (hexadecimal), or a unique prefix of it.

        Raises:
            ConfigurationError: there is no such run, or more than one.
        """
        found = [each for each in cls.all(home) if each.run.startswith(run)] if run else []
        if len(found) != 1:
            what = "More than one run has an id that starts" if found else "There is no run whose id starts"
            raise ConfigurationError(f"{what} with '{run}'.", hint="List them with: sottovoce server runs")
        return found[0]

    @classmethod
    def all(cls, home: ServerHome) -> "list[RunFolder]":
        """All runs of a home, newest first."""
        folders = [path for path in home.runs.iterdir() if _RUN.fullmatch(path.name)]
        return [cls(path) for path in sorted(folders, key=_begun, reverse=True)]

    @classmethod
    def create(cls, home: ServerHome, order: Order) -> "RunFolder":
        """Create a new run's folder."""
        path = home.runs / order.announcement.run.hex()
        with folder_aside(path) as aside:
            aside.chmod(0o700)
            cls(aside).write_order(order)
            (aside / BEGUN).touch(mode=0o600)
        return cls(path)

    @property
    def run(self) -> str:
        """The run's id (hexadecimal)."""
        return self.folder.name

    @contextmanager
    def worked_on(self, *, patience: float = GLANCE_SECONDS) -> Iterator[None]:
        """Lock for the one process that works on this run; released when the process ends in any way.

        Args:
            patience: seconds to wait for the lock.

        Raises:
            ConfigurationError: another process works on this run.
        """
        try:
            with FileLock(self.folder / ".lock", mode=0o600, timeout=patience):
                yield
        except Timeout:
            raise ConfigurationError("Another process is working on this run.") from None

    @property
    def under_way(self) -> bool:
        """Whether a process works on this run."""
        return not self.given_up(0)

    def given_up(self, patience: float) -> bool:
        """Whether no process works on this run any more, after waiting up to `patience` seconds."""
        try:
            with self.worked_on(patience=patience):
                return True
        except ConfigurationError:
            return False

    @property
    def keeper(self) -> Keeper:
        """Storage of its state between rounds."""
        return Keeper(self.folder)

    @property
    def release(self) -> Path:
        """Its release, once it is published."""
        return self.folder / "release"

    def write_order(self, order: Order) -> None:
        """Write the run's order."""
        # A run chooses its version of the protocol when it begins; the former release lists the run, too.
        values = {
            "announcement": replace(order.announcement, version=FORMER_VERSION).encode(),
            "name": order.name,
            "patience": order.patience,
            "timeout": order.timeout,
            "resume": order.resume,
            "init": order.init,
            "version": VERSION,
        }
        write_bytes(self.folder / "order.json", canonical_json(values), mode=0o600)

    def order(self) -> Order:
        """Read the run's order.

        Raises:
            OtherVersion: another version of Sottovoce began the run.
            ConfigurationError: the file is missing or damaged.
        """
        return _ORDER.read(self.folder / "order.json")

    def report(self, state: str, **details: Any) -> None:
        """Record the run's progress for `server runs`; rounds already reported are kept.

        Args:
            state: `waiting`, `training`, `publishing`, `published`, `stopped`, `ended` or `failed`.
            details: further values.
        """
        kept = {name: value for name, value in self.progress().items() if name == "history"}
        write_bytes(self.folder / "progress.json", canonical_json({"state": state, **kept, **details}), mode=0o600)

    def progress(self) -> Mapping[str, Any]:
        """The latest progress; the state is `submitted` before the first report, and `unreadable` if damaged."""
        try:
            values = json.loads((self.folder / "progress.json").read_bytes())
        except FileNotFoundError:
            return {"state": SUBMITTED}
        except (ValueError, RecursionError):
            values = None
        return values if isinstance(values, dict) and isinstance(values.get("state"), str) else {"state": UNREADABLE}

    @property
    def state(self) -> str:
        """The latest reported state, or `broke off` if the reporting process has ended."""
        state = str(self.progress()["state"])
        return BROKE_OFF if state in AT_WORK and not self.under_way else state

    def leave_out(self, label: str, why: str) -> None:
        """Have the process that works on this run ask a label no more, from its next round on."""
        with FileLock(self.folder / ".leave-out.lock", mode=0o600):
            named = {**self.left_out_by_hand(), label: why}
            write_bytes(
                self._leave_out_file, canonical_json({"version": LEAVE_OUT_VERSION, "labels": named}), mode=0o600
            )

    def left_out_by_hand(self) -> dict[str, str]:
        """Labels that the coordinator's people want left out, and why.

        Raises:
            OtherVersion: another version of Sottovoce wrote the file.
            ConfigurationError: it is damaged.
        """
        return _LEFT_OUT.find(self._leave_out_file) or {}

    @property
    def _leave_out_file(self) -> Path:
        return self.folder / "leave-out.json"

    def forget_progress(self) -> None:
        """Delete the progress before the run resumes."""
        (self.folder / "progress.json").unlink(missing_ok=True)


def _begun(folder: Path) -> tuple[int, str]:
    """Creation time of a run; other files in its folder are rewritten later."""
    mark = folder / BEGUN
    return (mark.stat().st_mtime_ns if mark.exists() else 0), folder.name
