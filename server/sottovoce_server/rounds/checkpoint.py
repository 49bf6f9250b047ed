"""Checkpoints for resuming after a crash: one file, written atomically after joining and after each round."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sottovoce.canonical import canonical_json
from sottovoce.errors import ConfigurationError
from sottovoce.federation.refusals import RefusalReason
from sottovoce.files import write_bytes
from sottovoce.protocol.message import FORMER_VERSION
from sottovoce.versioned import Format, Versioned
from sottovoce_server.rounds.ending import EndingFile
from sottovoce_server.rounds.history import Promise, RoundRecord, RunHistory
from sottovoce_server.rounds.sum_store import SumStore

VERSION = 3
"""Version of the format. Since version 3, a run's sums are stored beside it, and labels compute the model."""
DAMAGED = "The run's checkpoint is damaged."
_STATE = "state"
_MODEL = "model"


@dataclass(frozen=True)
class Snapshot:
    """A run after one of its rounds.

    Args:
        model: bytes from `GlobalModel.to_bytes`.
        setup: messages of the run's set-up (`Aggregator.setup_messages`).
        nodes: Flower's node of each of these labels.
        stands: number of rounds that each label has applied, by its last report.
        history: the run's history so far.
    """

    model: bytes
    setup: tuple[bytes, ...]
    nodes: Mapping[str, int]
    stands: Mapping[str, int]
    history: RunHistory

    def to_bytes(self) -> bytes:
        """The content of the file (safetensors); `from_bytes` restores an equal value."""
        state = {
            "version": VERSION,
            "setup": self.setup,
            "nodes": self.nodes,
            "stands": self.stands,
            "history": described(self.history),
        }
        parts = {_MODEL: self.model, _STATE: canonical_json(state)}
        return save({name: np.frombuffer(part, np.uint8) for name, part in parts.items()})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Snapshot":
        """Read a snapshot written by `to_bytes`.

        Raises:
            ConfigurationError: the bytes are damaged.
        """
        try:
            arrays = load(data)
            return replace(_FORMAT.decode(arrays[_STATE].tobytes()), model=arrays[_MODEL].tobytes())
        except (SafetensorError, ValueError, KeyError):
            raise ConfigurationError(DAMAGED) from None


@dataclass(frozen=True)
class Keeper:
    """Stores a run's progress, so that no round is ever requested twice.

    Args:
        folder: the run's folder.
    """

    folder: Path

    def started(self, number: int) -> None:
        """Record that a round begins; it is on disk when this returns."""
        write_bytes(self._started_file, str(number).encode(), mode=0o600)

    def save(self, snapshot: Snapshot) -> None:
        """Replace the last snapshot."""
        write_bytes(self._snapshot_file, snapshot.to_bytes(), mode=0o600)

    def load(self) -> tuple[Snapshot, int]:
        """The last snapshot, and the number of the newest round that began.

        Raises:
            ConfigurationError: there is no snapshot, or it is damaged.
        """
        try:
            data = self._snapshot_file.read_bytes()
            started = int(self._started_file.read_bytes()) if self._started_file.exists() else 0
        except FileNotFoundError:
            raise ConfigurationError(
                "The run broke off before its labels had joined, so there is nothing to resume.",
                hint="Start a new one with: sottovoce server train",
            ) from None
        except ValueError:
            raise ConfigurationError(DAMAGED) from None
        return Snapshot.from_bytes(data), started

    @property
    def has_snapshot(self) -> bool:
        """Whether there is a snapshot, readable or not."""
        return self._snapshot_file.exists()

    @property
    def newest_round(self) -> int:
        """Number of the newest round that began; 0 before the first."""
        try:
            return int(self._started_file.read_bytes())
        except (FileNotFoundError, ValueError):
            return 0

    @property
    def ending(self) -> EndingFile:
        """Storage of the run's end."""
        return EndingFile(self.folder / "over.json")

    @property
    def sums(self) -> SumStore:
        """Storage of the run's sums."""
        return SumStore(self.folder / "sums")

    @property
    def _started_file(self) -> Path:
        return self.folder / "round"

    @property
    def _snapshot_file(self) -> Path:
        return self.folder / "checkpoint.safetensors"


def described(history: RunHistory) -> dict[str, Any]:
    """A history as plain JSON values."""
    return {
        "rounds": [asdict(record) for record in history.rounds],
        "metrics": {str(number): dict(figures) for number, figures in history.metrics.items()},
        "promises": [
            {**asdict(promise), "epsilon": promise.epsilon if np.isfinite(promise.epsilon) else None}
            for promise in history.promises
        ],
        "refusals": {label: reason.value for label, reason in history.refusals.items()},
        "left_out": dict(history.left_out),
        "protocol": history.protocol,
        "behind": list(history.behind),
    }


class _Promise(msgspec.Struct):
    label: str
    epsilon: float | None
    delta: float


class _History(msgspec.Struct):
    rounds: list[RoundRecord]
    metrics: dict[int, dict[str, object]]
    promises: list[_Promise]
    refusals: dict[str, RefusalReason]
    left_out: dict[str, str] = msgspec.field(default_factory=dict)
    protocol: int = FORMER_VERSION  # earlier releases spoke no other
    behind: tuple[str, ...] = ()


class _State(Versioned):
    setup: list[str]
    nodes: dict[str, int]
    stands: dict[str, int]
    history: _History


def _snapshot(kept: _State) -> Snapshot:
    past = kept.history
    promises = (
        Promise(each.label, inf if each.epsilon is None else each.epsilon, each.delta) for each in past.promises
    )
    history = RunHistory(
        past.rounds, {**past.metrics}, tuple(promises), past.refusals, past.left_out, past.protocol, past.behind
    )
    setup = tuple(bytes.fromhex(message) for message in kept.setup)
    return Snapshot(b"", setup, kept.nodes, kept.stands, history)


_FORMAT = Format(
    _State,
    _snapshot,
    VERSION,
    "The run's checkpoint",
    hint="Continue with the version that began the run, or start a new one: sottovoce server train",
)
