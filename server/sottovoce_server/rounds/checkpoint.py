"""What a coordinator needs to go on after a crash: one file, written whole after joining and after each round."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sottovoce.canonical import canonical_json
from sottovoce.errors import ConfigurationError
from sottovoce.federation.refusals import RefusalReason
from sottovoce.files import write_bytes
from sottovoce_server.rounds.history import Promise, RoundRecord, RunHistory

VERSION = 2
"""Version of the checkpoint's format: that of the masked rounds whose set-up is in it."""
_STATE = "state"
_PARAMETERS = "parameters"


@dataclass(frozen=True)
class Snapshot:
    """A run after one of its rounds.

    Args:
        parameters: the global model's, float32 `[P]`.
        optimizer: what the server's optimiser remembers.
        decoder: what the decoder of sums remembers; empty where noise is local.
        setup: what the run's set-up rests on (`Aggregator.setup_messages`), as it came.
        nodes: Flower's node of each of these labels.
        history: so far.
    """

    parameters: NDArray[np.float32]
    optimizer: Mapping[str, NDArray[Any]]
    decoder: Mapping[str, NDArray[Any]]
    setup: tuple[bytes, ...]
    nodes: Mapping[str, int]
    history: RunHistory

    def to_bytes(self) -> bytes:
        """As a file's content (safetensors), which `from_bytes` reads back."""
        state = {"version": VERSION, "setup": self.setup, "nodes": self.nodes, "history": described(self.history)}
        arrays = {
            _PARAMETERS: self.parameters,
            _STATE: np.frombuffer(canonical_json(state), np.uint8),
            **{f"optimizer/{name}": value for name, value in self.optimizer.items()},
            **{f"decoder/{name}": value for name, value in self.decoder.items()},
        }
        return save({name: np.ascontiguousarray(value) for name, value in arrays.items()})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Snapshot":
        """Read what `to_bytes` gave.

        Raises:
            ConfigurationError: the bytes are damaged.
        """
        try:
            arrays = load(data)
            state = json.loads(arrays.pop(_STATE).tobytes())
            version = state.get("version", 1)
            if version != VERSION:
                raise ConfigurationError(
                    f"The run's checkpoint has version {version}; this release reads version {VERSION}.",
                    hint="Go on with the release that began the run, or start a new one: sottovoce server train",
                )
            return cls(
                parameters=arrays.pop(_PARAMETERS),
                optimizer=_below("optimizer/", arrays),
                decoder=_below("decoder/", arrays),
                setup=tuple(bytes.fromhex(message) for message in state["setup"]),
                nodes=dict(state["nodes"]),
                history=history_of(state["history"]),
            )
        except (SafetensorError, ValueError, KeyError, TypeError):
            raise ConfigurationError("The run's checkpoint is damaged.") from None


@dataclass(frozen=True)
class Keeper:
    """Where a run's progress is kept, so that no round is ever asked for twice.

    Args:
        folder: of the run.
    """

    folder: Path

    def started(self, number: int) -> None:
        """Note that a round begins; it is on disk when this returns."""
        write_bytes(self._started_file, str(number).encode(), mode=0o600)

    def save(self, snapshot: Snapshot) -> None:
        """Replace the last snapshot."""
        write_bytes(self._snapshot_file, snapshot.to_bytes(), mode=0o600)

    def load(self) -> tuple[Snapshot, int]:
        """The last snapshot, and the number of the newest round that began.

        Raises:
            ConfigurationError: there is none, or it is damaged.
        """
        try:
            data = self._snapshot_file.read_bytes()
            started = int(self._started_file.read_bytes()) if self._started_file.exists() else 0
        except FileNotFoundError:
            raise ConfigurationError(
                "The run broke off before its labels had joined, so there is nothing to go on with.",
                hint="Start a new one with: sottovoce server train",
            ) from None
        except ValueError:
            raise ConfigurationError("The run's checkpoint is damaged.") from None
        return Snapshot.from_bytes(data), started

    @property
    def _started_file(self) -> Path:
        return self.folder / "round"

    @property
    def _snapshot_file(self) -> Path:
        return self.folder / "checkpoint.safetensors"


def described(history: RunHistory) -> dict[str, Any]:
    """A history as JSON's plain values."""
    return {
        "rounds": [asdict(record) for record in history.rounds],
        "metrics": {str(number): dict(figures) for number, figures in history.metrics.items()},
        "promises": [
            {**asdict(promise), "epsilon": promise.epsilon if np.isfinite(promise.epsilon) else None}
            for promise in history.promises
        ],
        "refusals": {label: reason.value for label, reason in history.refusals.items()},
        "left_out": dict(history.left_out),
    }


def history_of(values: Mapping[str, Any]) -> RunHistory:
    """A history from what `described` made of it."""
    return RunHistory(
        rounds=[
            RoundRecord(
                **{
                    **record,
                    "participants": tuple(record["participants"]),
                    "survivors": tuple(record["survivors"]),
                    "liars": tuple(record.get("liars", ())),
                    "disputes": tuple(tuple(pair) for pair in record.get("disputes", ())),
                }
            )
            for record in values["rounds"]
        ],
        metrics={int(number): figures for number, figures in values["metrics"].items()},
        promises=tuple(
            Promise(**{**promise, "epsilon": float("inf") if promise["epsilon"] is None else promise["epsilon"]})
            for promise in values["promises"]
        ),
        refusals={label: RefusalReason(reason) for label, reason in values["refusals"].items()},
        left_out=dict(values.get("left_out", {})),
    )


def _below(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
