"""One run's whole configuration: what the coordinator announces and every label checks, signs and trains by."""

import json
import math
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import StrEnum
from types import UnionType
from typing import Any, get_args

from sottovoce.canonical import canonical_json, digest
from sottovoce.errors import ConfigurationError


class Unit(StrEnum):
    """What one person's worth of data is: adding or removing one of these changes little."""

    TRACK = "track"
    ARTIST = "artist"
    LABEL = "label"


class Balance(StrEnum):
    """How a label meets its own class imbalance."""

    NONE = "none"
    LOSS = "loss"
    SAMPLING = "sampling"


class Trust(StrEnum):
    """What the privacy guarantee rests on.

    LOCAL: on nobody but the label itself, which adds all of the noise. DISTRIBUTED: on the masks, and on a minimum
    number of honest labels in a round's sum, since each adds only its part (the distributed discrete Gaussian).
    """

    LOCAL = "local"
    DISTRIBUTED = "distributed"

    @classmethod
    def _missing_(cls, value: object) -> "Trust | None":
        """Older ledgers, releases and policies say `shared`."""
        return cls.DISTRIBUTED if value == "shared" else None


PUBLIC, NONE = "public", "none"
"""What a run may start from beside an earlier release: parameters learned from public audio, and random ones."""
RING_BITS = (16, 24, 32)
LARGEST_COEFFICIENT = 1 << 16
MOST_STEPS = 1_000_000
"""Of a run: an accountant takes seconds for so many, and minutes for a hundred times as many."""
MOST_CLASSES = 1_000
"""Each label counts (true, predicted) pairs: the square of this."""
CLIPS = (1e-6, 1e6)
"""Least and largest clip: float32 has its full precision for clipped vectors and noise of these sizes."""


def _expect(owner: object, name: str, holds: bool, wanted: str) -> None:
    if not holds:
        raise ConfigurationError(f"Expected {name}={getattr(owner, name)} {wanted}.")


def _floats(value: Any) -> None:
    """Bring whole numbers of a frozen dataclass's float fields to float: 1 and 1.0 must have one digest."""
    for field in fields(value):
        if float in (field.type, *get_args(field.type)) and getattr(value, field.name) is not None:
            object.__setattr__(value, field.name, float(getattr(value, field.name)))


@dataclass(frozen=True)
class BandedFactorisation:
    """Units take part in a fixed order, without sampling, under correlated noise (DP-FTRL).

    Args:
        min_separation: rounds from one participation of a unit to its next.
        coefficients: of the rounds that a report is made of, from its own back, whole numbers, at most
            `min_separation` of
            them; (1,) is independent noise. See `sottovoce.privacy.banded_factorisation`.
    """

    min_separation: int
    coefficients: tuple[int, ...]

    def __post_init__(self) -> None:
        _expect(self, "min_separation", self.min_separation >= 1, ">= 1")
        _expect(
            self,
            "coefficients",
            1 <= len(self.coefficients) <= self.min_separation,
            "to be at most as many as the period",
        )
        _expect(self, "coefficients", 1 <= self.coefficients[0] <= LARGEST_COEFFICIENT, "to begin with a positive one")
        within = all(abs(value) <= LARGEST_COEFFICIENT for value in self.coefficients)
        _expect(self, "coefficients", within, f"within ±{LARGEST_COEFFICIENT}")


@dataclass(frozen=True)
class DistributedNoise:
    """How the labels of a run make one noise together; see `sottovoce.privacy.distributed_gaussian`.

    One accounted step a round.

    Args:
        min_honest: the number of honest labels in a sum that the guarantee assumes; their noise adds up to z.
        noise_multiplier: z: the standard deviation of their noise over what one unit can change a sum by.
        sample_rate: the agreed rate at which each unit is sampled in a round; 1 takes all.
        clip_quantile: the clip follows this quantile of the units' gradient norms; None keeps it where it is.
        banded: banded matrix factorisation instead of sampling, or None.
    """

    min_honest: int
    noise_multiplier: float
    sample_rate: float
    clip_quantile: float | None = None
    banded: BandedFactorisation | None = None

    def __post_init__(self) -> None:
        _floats(self)
        _expect(self, "min_honest", self.min_honest >= 1, ">= 1")
        multiplier = self.noise_multiplier
        _expect(self, "noise_multiplier", math.isfinite(multiplier) and multiplier > 0, "> 0 and finite")
        _expect(self, "sample_rate", 0 < self.sample_rate <= 1, "in (0, 1]")
        if self.clip_quantile is not None:
            _expect(self, "clip_quantile", 0 < self.clip_quantile < 1, "in (0, 1)")
        if self.banded is not None:
            _expect(self, "sample_rate", self.sample_rate == 1, "to be 1 with a minimum separation")
            _expect(self, "clip_quantile", self.clip_quantile is None, "to be unset with a minimum separation")


@dataclass(frozen=True)
class RunConfiguration:
    """A run, in full. Labels train by it; its digest is signed in every advert, so it cannot change afterwards.

    Args:
        task: `style`.
        family: the kind of model, as registered in `sottovoce.models`.
        classes: the agreed styles, in the order of the model's outputs.
        feature_spec: digest (hex) of the `FeatureSpec` that everybody extracts by.
        rounds: aggregations planned.
        local_steps: optimiser steps a label takes a round; each is one accounted step.
        batch_size: expected number of units (tracks or artists) in a label's Poisson batch; a label with fewer takes
            all. With distributed noise, the number that the sum over all labels is divided by.
        learning_rate: of the label's optimiser.
        momentum: of the label's optimiser (SGD), reset each round.
        max_grad_norm: L2 clip of one unit's gradient.
        private: False trains without noise or clipping, and every label must have allowed that.
        epsilon: ceiling of each label's ε for the whole run; a label's policy may lower it.
        delta: δ of that ceiling.
        unit: the unit of privacy.
        shared: how noise is shared between the labels; None where each adds all of its own (and without privacy).
        balance: how class imbalance is met.
        segments_per_track: segments of each sampled unit that enter its (one, clipped) gradient.
        update_clip: L2 clip of a label's update of one round.
        ring_bits: size of the ring that updates are masked in: 16, 24 or 32.
        server_optimizer: `fedavg`, `fedavgm`, `fedadam`, `fedyogi`.
        server_learning_rate: of the server's optimiser.
        holdout: share of each label's tracks that is kept for evaluation.
        seed: of the global model's first parameters; and, in a simulation only, of every draw.
        trainable: prefixes of the names of the parameters that the run trains; empty for all. The others stay as the
            run begins, and are no part of what labels send.
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
    distributed: DistributedNoise | None
    balance: Balance
    segments_per_track: int
    update_clip: float
    ring_bits: int
    server_optimizer: str
    server_learning_rate: float
    holdout: float
    seed: int
    trainable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _floats(self)
        for name in ("rounds", "local_steps", "batch_size", "segments_per_track"):
            _expect(self, name, getattr(self, name) >= 1, ">= 1")
        for name in ("learning_rate", "max_grad_norm", "epsilon", "update_clip", "server_learning_rate"):
            value = getattr(self, name)
            _expect(self, name, math.isfinite(value) and value > 0, "> 0 and finite")
        least, most = CLIPS
        _expect(self, "max_grad_norm", least <= self.max_grad_norm <= most, f"in [{least:g}, {most:g}]")
        _expect(self, "momentum", 0 <= self.momentum < 1, "in [0, 1)")
        _expect(self, "delta", 0 < self.delta < 1, "in (0, 1)")
        _expect(self, "holdout", 0 < self.holdout < 1, "in (0, 1)")
        _expect(self, "ring_bits", self.ring_bits in RING_BITS, f"one of {RING_BITS}")
        _expect(self, "classes", len(set(self.classes)) == len(self.classes) >= 2, "two or more different styles")
        _expect(
            self,
            "trainable",
            all(self.trainable) and len(set(self.trainable)) == len(self.trainable),
            "different names",
        )
        if len(self.classes) > MOST_CLASSES:
            raise ConfigurationError(f"A run has {len(self.classes)} styles, and {MOST_CLASSES} at most.")
        if self.rounds * self.local_steps > MOST_STEPS:
            raise ConfigurationError(
                f"{self.rounds} rounds of {self.local_steps} steps are more than the {MOST_STEPS:,} steps of a run."
            )

        self._check_noise()

    def _check_noise(self) -> None:
        """Refuse combinations of noise, unit and balance that nobody has a proof for."""
        if self.distributed is None:
            if self.unit is Unit.LABEL:
                raise ConfigurationError(
                    "The unit 'label' needs distributed noise: a label's own noise would drown its whole update.",
                    hint="Use noise 'distributed', or the unit track or artist.",
                )
            return
        if not self.private:
            raise ConfigurationError("A run without privacy has no noise to share.")
        if self.unit is Unit.LABEL:
            _expect(self, "balance", self.balance is Balance.NONE, "to be none where the unit is a whole label")
            if self.distributed.sample_rate != 1 or self.distributed.banded is not None:
                raise ConfigurationError("Where the unit is a whole label, every label takes part in every round.")
        else:
            _expect(self, "local_steps", self.local_steps == 1, "to be 1 with distributed noise, which covers one step")
        if self.distributed.banded is not None:
            _expect(self, "balance", self.balance is not Balance.SAMPLING, "not sampling with a minimum separation")

    @property
    def trust(self) -> Trust:
        """What the guarantee rests on."""
        return Trust.LOCAL if self.distributed is None else Trust.DISTRIBUTED

    @property
    def steps_per_round(self) -> int:
        """Accounted steps of a round; where the unit is a label, all that it does within one is one."""
        return 1 if self.unit is Unit.LABEL else self.local_steps

    @property
    def steps(self) -> int:
        """Accounted steps of the whole run. Under banded matrix factorisation, all rounds together are one."""
        if self.distributed is not None and self.distributed.banded is not None:
            return 1
        return self.rounds * self.steps_per_round

    @property
    def digest(self) -> bytes:
        """SHA-256 of the configuration's canonical bytes (32 bytes)."""
        return digest(self)

    def to_bytes(self) -> bytes:
        """Canonical bytes, which `from_bytes` reads back to an equal value."""
        return canonical_json(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> "RunConfiguration":
        """Read a configuration from another party.

        Raises:
            ConfigurationError: it is no JSON object, lacks or adds a field, or a value is of the wrong type or range.
        """
        try:
            values = json.loads(data)
        except ValueError:
            raise ConfigurationError("A training configuration is not JSON.") from None
        parsed: RunConfiguration = _parsed(cls, values)
        return parsed

    def changed(self, **changes: Any) -> "RunConfiguration":
        """A copy with some fields changed, checked again."""
        return replace(self, **changes)


def _parsed(kind: Any, values: object) -> Any:
    """A dataclass of this module from a JSON object with exactly its fields."""
    expected = {field.name: field.type for field in fields(kind)}
    if not isinstance(values, dict) or set(values) != set(expected):
        raise ConfigurationError("A training configuration lacks a field, or has one too many.")
    return kind(**{name: _typed(name, expected[name], value) for name, value in values.items()})


def _typed(name: str, kind: Any, value: Any) -> Any:
    """`value` as `kind`, without coercion beyond int to float."""
    if isinstance(kind, UnionType):  # of something and None
        return None if value is None else _typed(name, get_args(kind)[0], value)
    if isinstance(kind, type) and is_dataclass(kind):
        return _parsed(kind, value)
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
    if kind == tuple[int, ...] and isinstance(value, list) and all(type(item) is int for item in value):
        return tuple(value)
    if kind == tuple[str, ...] and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise ConfigurationError(f"Field {name} of a training configuration has the wrong type.")
