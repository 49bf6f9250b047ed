"""One folder a run: what was asked for, how far it is, its checkpoint and its release."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sottovoce.canonical import canonical_json
from sottovoce.errors import ConfigurationError, SottovoceError
from sottovoce.files import folder_aside, write_bytes
from sottovoce.protocol.messages import Announcement, decode
from sottovoce_server.home.coordinator_home import ServerHome
from sottovoce_server.rounds.checkpoint import Keeper

_RUN = re.compile(r"[0-9a-f]{32}")
BROKE_OFF = "broke off"
SUBMITTED = "submitted"
UNREADABLE = "unreadable"
_AT_WORK = ("waiting", "training", "publishing")
GLANCE_SECONDS = 2.0
"""How long who works on a run waits for somebody who only looks whether anybody does."""
BEGUN = "begun"
"""An empty file whose time says when the run was created."""


@dataclass(frozen=True)
class Order:
    """What the command line asks the coordinator's app to do.

    Args:
        announcement: of the run.
        name: of the release.
        patience: seconds to wait for all labels; after that, `n_min` of them are enough.
        timeout: seconds that one exchange may take.
        resume: go on after the checkpoint.
        init: what the model starts from, as `sottovoce.models.initialisation.initial_parameters` takes it.
    """

    announcement: Announcement
    name: str
    patience: float
    timeout: float
    resume: bool = False
    init: str | None = None


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run.

    Args:
        folder: within the coordinator's home.
    """

    folder: Path

    @classmethod
    def of(cls, home: ServerHome, run: str) -> "RunFolder":
        """The folder of a run by its id (hexadecimal), or by the beginning of it that no other run shares.

        Raises:
            ConfigurationError: there is no such run, or more than one.
        """
        found = [each for each in cls.all(home) if each.run.startswith(run)] if run else []
        if len(found) != 1:
            what = "More than one run has an id that begins" if found else "There is no run whose id begins"
            raise ConfigurationError(f"{what} with '{run}'.", hint="List them with: sottovoce server runs")
        return found[0]

    @classmethod
    def all(cls, home: ServerHome) -> "list[RunFolder]":
        """Every run of a home, the newest first."""
        folders = [path for path in home.runs.iterdir() if _RUN.fullmatch(path.name)]
        return [cls(path) for path in sorted(folders, key=_begun, reverse=True)]

    @classmethod
    def create(cls, home: ServerHome, order: Order) -> "RunFolder":
        """A new run's folder."""
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
        """For the one process that does this run; the system ends it with the process, however that ends.

        Args:
            patience: seconds to wait for another process to end.

        Raises:
            ConfigurationError: another process does it.
        """
        try:
            with FileLock(self.folder / ".lock", mode=0o600, timeout=patience):
                yield
        except Timeout:
            raise ConfigurationError("Another process works on this run.") from None

    @property
    def under_way(self) -> bool:
        """Whether a process works on this run."""
        return not self.given_up(0)

    def given_up(self, patience: float) -> bool:
        """Whether no process works on this run any more, within so many seconds."""
        try:
            with self.worked_on(patience=patience):
                return True
        except ConfigurationError:
            return False

    @property
    def keeper(self) -> Keeper:
        """Where its state is kept from round to round."""
        return Keeper(self.folder)

    @property
    def release(self) -> Path:
        """Its release, once it is published."""
        return self.folder / "release"

    def write_order(self, order: Order) -> None:
        """Say what is to be done."""
        values = {
            "announcement": order.announcement.encode(),
            "name": order.name,
            "patience": order.patience,
            "timeout": order.timeout,
            "resume": order.resume,
            "init": order.init,
        }
        write_bytes(self.folder / "order.json", canonical_json(values), mode=0o600)

    def order(self) -> Order:
        """What is to be done.

        Raises:
            ConfigurationError: the file is missing or damaged.
        """
        try:
            values = json.loads((self.folder / "order.json").read_bytes())
            announcement = decode(bytes.fromhex(values["announcement"]))
            if not isinstance(announcement, Announcement):
                raise TypeError
            return Order(**{**values, "announcement": announcement})
        except (OSError, ValueError, KeyError, TypeError, SottovoceError):
            raise ConfigurationError("The run's order is missing or damaged.") from None

    def report(self, state: str, **details: Any) -> None:
        """Say how far the run is, for whoever looks on; the rounds that were reported stay.

        Args:
            state: `waiting`, `training`, `publishing`, `published`, `stopped` or `failed`.
            details: what else there is to say.
        """
        kept = {name: value for name, value in self.progress().items() if name == "history"}
        write_bytes(self.folder / "progress.json", canonical_json({"state": state, **kept, **details}), mode=0o600)

    def progress(self) -> Mapping[str, Any]:
        """What was reported last; the state is `submitted` before anything was, and `unreadable` if it is damaged."""
        try:
            values = json.loads((self.folder / "progress.json").read_bytes())
        except FileNotFoundError:
            return {"state": SUBMITTED}
        except (ValueError, RecursionError):
            values = None
        return values if isinstance(values, dict) and isinstance(values.get("state"), str) else {"state": UNREADABLE}

    @property
    def state(self) -> str:
        """What was reported last, or `broke off` where the process that reported it is gone."""
        state = str(self.progress()["state"])
        return BROKE_OFF if state in _AT_WORK and not self.under_way else state

    def forget_progress(self) -> None:
        """Before the run goes on."""
        (self.folder / "progress.json").unlink(missing_ok=True)


def _begun(folder: Path) -> tuple[int, str]:
    """When a run was created: its folder, its order and its progress are written to again later."""
    mark = folder / BEGUN
    return (mark.stat().st_mtime_ns if mark.exists() else 0), folder.name
