"""One run's whole configuration: what the coordinator announces and every label checks, signs and trains by."""

import json
import math
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

from sottovoce.canonical import canonical_json, digest
from sottovoce.errors import ConfigurationError


class Unit(StrEnum):
    """What one person's worth of data is: adding or removing one of these changes little."""

    TRACK = "track"
    ARTIST = "artist"


class Balance(StrEnum):
    """How a label meets its own class imbalance."""

    NONE = "none"
    LOSS = "loss"
    SAMPLING = "sampling"


class Trust(StrEnum):
    """What the privacy guarantee rests on. LOCAL: on nobody but the label itself."""

    LOCAL = "local"


RING_BITS = (16, 24, 32)
MOST_STEPS = 1_000_000
"""Of a run: an accountant takes seconds for so many, and minutes for a hundred times as many."""
MOST_CLASSES = 1_000
"""Each label counts (true, predicted) pairs: the square of this."""
CLIPS = (1e-6, 1e6)
"""Least and largest clip: float32 has its full precision for clipped vectors and noise of these sizes."""


@dataclass(frozen=True)
class TrainingConfig:
    """A run, in full. Labels train by it; its digest is signed in every advert, so it cannot change afterwards.

    Args:
        task: `style`.
        family: the kind of model, as registered in `sottovoce.models`.
        classes: the agreed styles, in the order of the model's outputs.
        feature_spec: digest (hex) of the `FeatureSpec` that everybody extracts by.
        rounds: aggregations planned.
        local_steps: optimiser steps a label takes a round; each is one accounted step.
        batch_size: expected number of units (tracks or artists) in a Poisson batch. A label with fewer takes all.
        learning_rate: of the label's optimiser.
        momentum: of the label's optimiser (SGD), reset each round.
        max_grad_norm: L2 clip of one unit's gradient.
        private: False trains without noise or clipping, and every label must have allowed that.
        epsilon: ceiling of each label's ε for the whole run; a label's policy may lower it.
        delta: δ of that ceiling.
        unit: the unit of privacy.
        trust: what the guarantee rests on.
        balance: how class imbalance is met.
        segments_per_track: segments of each sampled unit that enter its (one, clipped) gradient.
        update_clip: L2 clip of a label's update of one round.
        ring_bits: size of the ring that updates are masked in: 16, 24 or 32.
        server_optimizer: `fedavg`, `fedavgm`, `fedadam`, `fedyogi`.
        server_learning_rate: of the server's optimiser.
        holdout: share of each label's tracks that is kept for evaluation.
        seed: of the global model's first parameters; and, in a simulation only, of every draw.
    """

    task: str
    family: str
    classes: tuple[str, ...]
    feature_spec: str
    rounds: int
    local_steps: int
    batch_size: int
    learning_rate: float
    momentum: float
    max_grad_norm: float
    private: bool
    epsilon: float
    delta: float
    unit: Unit
    trust: Trust
    balance: Balance
    segments_per_track: int
    update_clip: float
    ring_bits: int
    server_optimizer: str
    server_learning_rate: float
    holdout: float
    seed: int

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.type is float:  # 1 and 1.0 must have one digest
                object.__setattr__(self, field.name, float(getattr(self, field.name)))
        for name in ("rounds", "local_steps", "batch_size", "segments_per_track"):
            self._expect(name, getattr(self, name) >= 1, ">= 1")
        for name in ("learning_rate", "max_grad_norm", "epsilon", "update_clip", "server_learning_rate"):
            value = getattr(self, name)
            self._expect(name, math.isfinite(value) and value > 0, "> 0 and finite")
        least, most = CLIPS
        self._expect("max_grad_norm", least <= self.max_grad_norm <= most, f"in [{least:g}, {most:g}]")
        self._expect("momentum", 0 <= self.momentum < 1, "in [0, 1)")
        self._expect("delta", 0 < self.delta < 1, "in (0, 1)")
        self._expect("holdout", 0 < self.holdout < 1, "in (0, 1)")
        self._expect("ring_bits", self.ring_bits in RING_BITS, f"one of {RING_BITS}")
        self._expect("classes", len(set(self.classes)) == len(self.classes) >= 2, "two or more different styles")
        if len(self.classes) > MOST_CLASSES:
            raise ConfigurationError(f"A run has {len(self.classes)} styles, and {MOST_CLASSES} at most.")
        if self.steps > MOST_STEPS:
            raise ConfigurationError(
                f"{self.rounds} rounds of {self.local_steps} steps are more than the {MOST_STEPS:,} steps of a run."
            )

    def _expect(self, name: str, holds: bool, wanted: str) -> None:
        if not holds:
            raise ConfigurationError(f"Expected {name}={getattr(self, name)} {wanted}.")

    @property
    def steps(self) -> int:
        """Accounted steps of the whole run."""
        return self.rounds * self.local_steps

    @property
    def digest(self) -> bytes:
        """SHA-256 of the configuration's canonical bytes (32 bytes)."""
        return digest(self)

    def to_bytes(self) -> bytes:
        """Canonical bytes, which `from_bytes` reads back to an equal value."""
        return canonical_json(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> "TrainingConfig":
        """Read a configuration from another party.

        Raises:
            ConfigurationError: it is no JSON object, lacks or adds a field, or a value is of the wrong type or range.
        """
        try:
            values = json.loads(data)
        except ValueError:
            raise ConfigurationError("A training configuration is not JSON.") from None
        expected = {field.name: field.type for field in fields(cls)}
        if not isinstance(values, dict) or set(values) != set(expected):
            raise ConfigurationError("A training configuration lacks a field, or has one too many.")
        return cls(**{name: _typed(name, expected[name], value) for name, value in values.items()})

    def changed(self, **changes: Any) -> "TrainingConfig":
        """A copy with some fields changed, checked again."""
        return replace(self, **changes)


def _typed(name: str, kind: Any, value: Any) -> Any:
    """`value` as `kind`, without coercion beyond int to float."""
    if isinstance(kind, type) and issubclass(kind, StrEnum) and isinstance(value, str):
        try:
            return kind(value)
        except ValueError:
            raise ConfigurationError(
                f"Expected {name}={value!r} to be one of {[item.value for item in kind]}."
            ) from None
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if kind in (int, str, bool) and type(value) is kind:
        return value
    if kind == tuple[str, ...] and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise ConfigurationError(f"Field {name} of a training configuration has the wrong type.")
