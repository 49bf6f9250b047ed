"""The complete configuration of a run: announced by the coordinator, checked, signed and followed by every label."""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from sottovoce.canonical import canonical_json, digest
from sottovoce.errors import ConfigurationError
from sottovoce.run.knobs import Knob, check


class Unit(StrEnum):
    """Unit of privacy: the guarantee covers adding or removing one."""

    TRACK = "track"
    ARTIST = "artist"
    LABEL = "label"


class Balance(StrEnum):
    """How a label handles its class imbalance."""

    NONE = "none"
    LOSS = "loss"
    SAMPLING = "sampling"


class Trust(StrEnum):
    """What the privacy guarantee depends on.

    LOCAL: on the label itself only, which adds all of the noise. DISTRIBUTED: on the masks, and on a minimum number of
    honest labels in a round's sum, since each adds only a part (the distributed discrete Gaussian).
    """

    LOCAL = "local"
    DISTRIBUTED = "distributed"

    @classmethod
    def _missing_(cls, value: object) -> "Trust | None":
        """Accept the former name `shared`, used in older ledgers, releases and policies."""
        return cls.DISTRIBUTED if value == "shared" else None


PUBLIC, NONE = "public", "none"
"""Names of starts other than an earlier release: parameters learned from public audio, and random ones."""
RING_BITS = (16, 24, 32)
SERVER_OPTIMIZERS = ("fedavg", "fedavgm", "fedadam", "fedyogi")
LARGEST_COEFFICIENT = 1 << 16
MOST_STEPS = 1_000_000
"""Largest number of steps of a run; accounting takes seconds for this many, and minutes for a hundred times more."""
LONGEST_STYLE = 200
"""Longest name of a style, in characters."""
_WORD = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
MOST_CLASSES = 1_000
"""Largest number of classes; each label counts (true, predicted) pairs, whose number is its square."""
CLIPS = (1e-6, 1e6)
"""Smallest and largest clip, L2 norm: within this range, float32 represents clipped vectors and noise precisely."""


def _expect(owner: object, name: str, holds: bool, wanted: str) -> None:
    if not holds:
        raise ConfigurationError(f"Expected {name}={getattr(owner, name)} {wanted}.")


@dataclass(frozen=True)
class BandedFactorisation:
    """Units take part in a fixed order, without sampling, under correlated noise (DP-FTRL).

    Args:
        min_separation: smallest number of rounds between two that use the same unit.
        coefficients: weights of the last rounds in a report, newest first: whole numbers, at most `min_separation` of
            them; (1,) is independent noise. See `sottovoce.privacy.banded_factorisation`.
    """

    min_separation: Annotated[
        int, Knob("Smallest distance between two rounds that use the same unit.", unit="rounds", range="[1, ∞)")
    ]
    coefficients: tuple[int, ...]

    def __post_init__(self) -> None:
        check(self)
        few = 1 <= len(self.coefficients) <= self.min_separation
        _expect(self, "coefficients", few, "to be at most as many as the minimum separation")
        _expect(self, "coefficients", 1 <= self.coefficients[0] <= LARGEST_COEFFICIENT, "to begin with a positive one")
        within = all(abs(value) <= LARGEST_COEFFICIENT for value in self.coefficients)
        _expect(self, "coefficients", within, f"within ±{LARGEST_COEFFICIENT}")


@dataclass(frozen=True)
class DistributedNoise:
    """How the labels of a run add one noise together; see `sottovoce.privacy.distributed_gaussian`.

    One accounted step per round. `banded` replaces sampling by banded matrix factorisation; None for sampling.
    """

    min_honest: Annotated[
        int,
        Knob(
            "Smallest number of honest labels in a round's sum, as distributed noise assumes.",
            unit="labels",
            range="[1, ∞)",
        ),
    ]
    noise_multiplier: Annotated[
        float,
        Knob(
            "Standard deviation of the total noise of these labels.",
            unit="largest change of a sum by one unit",
            range="(0, ∞)",
        ),
    ]
    sample_rate: Annotated[
        float, Knob("Probability that a round uses a unit, with distributed noise.", unit="probability", range="(0, 1]")
    ]
    clip_quantile: Annotated[
        float | None,
        Knob(
            "Quantile of the units' gradient norms that the clip follows, with distributed noise.",
            unit="quantile",
            range="(0, 1)",
            unset="the clip is fixed",
        ),
    ] = None
    banded: BandedFactorisation | None = None

    def __post_init__(self) -> None:
        check(self)
        if self.banded is not None:
            _expect(self, "sample_rate", self.sample_rate == 1, "to be 1 with a minimum separation")
            _expect(self, "clip_quantile", self.clip_quantile is None, "to be unset with a minimum separation")


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """Settings of the optimisation; each family has its own defaults (`TrainingRecipe`)."""

    rounds: Annotated[int, Knob("Number of rounds.", unit="rounds", range="[1, ∞)")]
    local_steps: Annotated[int, Knob("Number of a label's optimiser steps per round.", unit="steps", range="[1, ∞)")]
    batch_size: Annotated[
        int,
        Knob(
            "Expected size of a label's Poisson batch; with distributed noise, of all labels' batches in total.",
            unit="units",
            range="[1, ∞)",
        ),
    ]
    learning_rate: Annotated[float, Knob("Learning rate of the labels' optimiser.", range="(0, ∞)")]
    momentum: Annotated[float, Knob("Momentum of the labels' optimiser, reset each round.", range="[0, 1)")]
    max_grad_norm: Annotated[
        float, Knob("Clip of one unit's gradient.", unit="L2 norm", range=f"[{CLIPS[0]:g}, {CLIPS[1]:g}]")
    ]
    segments_per_track: Annotated[
        int, Knob("Number of segments for a unit's gradient.", unit="segments", range="[1, ∞)")
    ]
    update_clip: Annotated[float, Knob("Clip of a label's update in one round.", unit="L2 norm", range="(0, ∞)")]
    ring_bits: Annotated[int, Knob("Size of a masked number: 16, 24 or 32.", unit="bits", range="[16, 32]")]
    server_optimizer: Annotated[str, Knob("Server optimiser: fedavg, fedavgm, fedadam or fedyogi.")]
    server_learning_rate: Annotated[float, Knob("Learning rate of the server's optimiser.", range="(0, ∞)")]
    server_momentum: Annotated[float, Knob("Momentum of the server's optimiser, for fedavgm.", range="[0, 1)")] = 0.9
    server_beta_1: Annotated[
        float, Knob("Decay of the first moment in the server's optimiser, for fedadam and fedyogi.", range="[0, 1)")
    ] = 0.9
    server_beta_2: Annotated[
        float, Knob("Decay of the second moment in the server's optimiser, likewise.", range="[0, 1)")
    ] = 0.99
    server_tau: Annotated[
        float, Knob("Constant that fedadam and fedyogi add to the second moment's root.", range="(0, ∞)")
    ] = 1e-3
    trainable: Annotated[
        tuple[str, ...],
        Knob(
            "Prefixes of the names of the trainable parameters; the others are neither changed nor sent.", unset="all"
        ),
    ] = ()


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Settings that state what is learned, and its privacy."""

    task: Annotated[str, Knob("Task to learn: style, generator or editor.")] = "style"
    family: Annotated[str, Knob("Model family within the task.")] = "svm"
    epsilon: Annotated[float, Knob("Ceiling of each label's privacy loss over the run.", unit="ε", range="(0, ∞)")] = (
        8.0
    )
    delta: Annotated[float, Knob("Failure probability δ of that ceiling.", unit="δ", range="(0, 1)")] = 1e-05
    unit: Annotated[Unit, Knob("Unit of privacy: track, artist or label.")] = Unit.TRACK
    balance: Annotated[Balance, Knob("How labels handle class imbalance: none, loss or sampling.")] = Balance.NONE
    evaluations: Annotated[
        int,
        Knob("Evaluations on held-out tracks, spread over the run; 0 for none.", unit="evaluations", range="[0, 100]"),
    ] = 5
    private: Annotated[
        bool, Knob("Train without clipping or noise; each label's policy must allow it.", names=(" /--no-dp",))
    ] = True


@dataclass(frozen=True, kw_only=True)
class RunConfiguration(Optimisation, Terms):
    """The configuration of a run. Its digest is signed in every advert, so it cannot change afterwards.

    Args:
        classes: the agreed styles, in the order of the model's outputs.
        feature_spec: digest (hex) of the run's `FeatureSpec`.
        first_parameters: SHA-256 (hex) of the run's initial parameters, as little-endian float32.
        distributed: settings of distributed noise; None with local noise and without privacy.
    """

    classes: tuple[str, ...]
    feature_spec: str
    first_parameters: str
    distributed: DistributedNoise | None
    seed: Annotated[
        int, Knob("Seed of the model's first parameters; in a simulation, of every draw except keys.", range="[0, ∞)")
    ]

    def __post_init__(self) -> None:
        check(self)
        _expect(self, "ring_bits", self.ring_bits in RING_BITS, f"one of {RING_BITS}")
        for name in ("task", "family"):  # labels' people see them in a terminal and in spreadsheets
            _expect(
                self, name, bool(_WORD.fullmatch(getattr(self, name))), "to be a word of a-z, 0-9, '.', '_' and '-'"
            )
        _expect(self, "classes", len(set(self.classes)) == len(self.classes) >= 2, "two or more different styles")
        if not all(style.isprintable() and 0 < len(style) <= LONGEST_STYLE for style in self.classes):
            raise ConfigurationError(f"A run's styles need printable names of 1 to {LONGEST_STYLE} characters.")
        _expect(
            self,
            "trainable",
            all(self.trainable) and len(set(self.trainable)) == len(self.trainable),
            "different names",
        )
        if len(self.classes) > MOST_CLASSES:
            raise ConfigurationError(f"A run has {len(self.classes)} styles, but at most {MOST_CLASSES} are allowed.")
        if self.server_optimizer not in SERVER_OPTIMIZERS:
            raise ConfigurationError(
                f"Unknown server optimiser '{self.server_optimizer}'.",
                hint=f"Known: {', '.join(SERVER_OPTIMIZERS)}.",
            )
        if not re.fullmatch("[0-9a-f]{64}", self.first_parameters):
            raise ConfigurationError("A run's initial parameters are named by a SHA-256 in hexadecimal.")
        if self.rounds * self.local_steps > MOST_STEPS:
            raise ConfigurationError(
                f"{self.rounds} rounds of {self.local_steps} steps exceed the limit of {MOST_STEPS:,} steps."
            )

        self._check_noise()

    def _check_noise(self) -> None:
        """Refuse combinations of noise, unit and balance that no proof covers."""
        if self.distributed is None:
            if self.unit is Unit.LABEL:
                raise ConfigurationError(
                    "The unit 'label' needs distributed noise: a label's own noise would drown its whole update.",
                    hint="Use noise 'distributed', or the unit track or artist.",
                )
            return
        if not self.private:
            raise ConfigurationError("A run without privacy has no noise to distribute.")
        if self.unit is Unit.LABEL:
            _expect(self, "balance", self.balance is Balance.NONE, "to be none where the unit is a whole label")
            if self.distributed.sample_rate != 1 or self.distributed.banded is not None:
                raise ConfigurationError("If the unit is a whole label, every label takes part in every round.")
        else:
            _expect(self, "local_steps", self.local_steps == 1, "to be 1 with distributed noise, which covers one step")
        if self.distributed.banded is not None:
            _expect(self, "balance", self.balance is not Balance.SAMPLING, "not sampling with a minimum separation")

    @property
    def trust(self) -> Trust:
        """Kind of noise that the guarantee depends on."""
        return Trust.LOCAL if self.distributed is None else Trust.DISTRIBUTED

    @property
    def steps_per_round(self) -> int:
        """Accounted steps of a round; if the unit is a label, a whole round is one step."""
        return 1 if self.unit is Unit.LABEL else self.local_steps

    @property
    def steps(self) -> int:
        """Accounted steps of the run. With banded matrix factorisation, all rounds together are one."""
        if self.distributed is not None and self.distributed.banded is not None:
            return 1
        return self.rounds * self.steps_per_round

    @property
    def evaluated(self) -> frozenset[int]:
        """Rounds whose model is evaluated on held-out tracks: evenly spaced, including the last.

        Empty if the unit is a whole label, whose held-out tracks nothing bounds. Without privacy, every round.
        """
        if not self.private:
            return frozenset(range(self.rounds + 1))
        count = 0 if self.unit is Unit.LABEL else min(self.evaluations, self.rounds)
        return frozenset(round(self.rounds * number / count) for number in range(1, count + 1))

    @property
    def digest(self) -> bytes:
        """SHA-256 of the configuration's canonical bytes (32 bytes)."""
        return digest(self)

    def to_bytes(self) -> bytes:
        """Canonical bytes; `from_bytes` restores an equal value."""
        return canonical_json(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> "RunConfiguration":
        """Read another party's configuration.

        Raises:
            ConfigurationError: it is not a configuration's canonical JSON: a field is missing, unknown, repeated, of
                the wrong type or out of range.
        """
        try:
            read = msgspec.json.decode(data, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigurationError(f"The run's configuration cannot be read: {error}.") from None
        if read.to_bytes() != data:
            raise ConfigurationError("The run's configuration is not in canonical form.")
        return read

    def changed(self, **changes: Any) -> "RunConfiguration":
        """A copy with some fields changed, checked again."""
        return replace(self, **changes)
