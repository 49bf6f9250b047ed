"""What a simulation is asked for, checked at birth, and how it becomes a run's configuration."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from sottovoce.errors import ConfigurationError
from sottovoce.features.extract import default_spec
from sottovoce.models import registry
from sottovoce.training import Balance, TrainingConfig, Trust, Unit
from sottovoce_simulations.partition import Scheme

HOLDOUT = 0.2
EPSILON = 8.0
DELTA = 1e-5


@dataclass(frozen=True)
class Experiment:
    """One simulation.

    Args:
        catalogues: one folder a label (as-is), or one pool that is split over clients.
        scheme: how catalogues become labels.
        clients: number of labels for a split pool; None for as-is.
        task: what is learnt.
        family: the kind of model.
        rounds: aggregations, or None for the family's own number.
        epsilon: each label's ceiling.
        delta: δ of it.
        unit: the unit of privacy.
        balance: how class imbalance is met.
        private: False trains without clipping and noise.
        drop_out: probability of a label vanishing in a round.
        ring_bits: size of the ring, or None for the family's own.
        seed: makes the experiment repeatable; None draws from the operating system's entropy.
    """

    catalogues: Path
    scheme: Scheme
    clients: int | None = None
    task: str = "style"
    family: str = "svm"
    rounds: int | None = None
    epsilon: float = EPSILON
    delta: float = DELTA
    unit: Unit = Unit.TRACK
    balance: Balance = Balance.NONE
    private: bool = True
    drop_out: float = 0.0
    ring_bits: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.drop_out < 1:
            raise ConfigurationError(f"Expected a drop-out probability in [0, 1), not {self.drop_out}.")
        if self.seed is not None and self.seed < 0:
            raise ConfigurationError(f"Expected a seed >= 0, not {self.seed}.")

    def check(self) -> None:
        """Find out before any work whether a run can be configured so.

        Raises:
            ConfigurationError: the task or family is unknown, or a value is out of range.
        """
        self.training(classes=("one", "another"))

    def training(self, classes: tuple[str, ...]) -> TrainingConfig:
        """The configuration that the coordinator announces.

        Raises:
            ConfigurationError: the task or family is unknown, or a value is out of range.
        """
        recipe = registry.family(self.task, self.family).recipe(private=self.private)
        return TrainingConfig(
            task=self.task,
            family=self.family,
            classes=classes,
            feature_spec=default_spec().digest,
            rounds=recipe.rounds if self.rounds is None else self.rounds,
            local_steps=recipe.local_steps,
            batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            momentum=recipe.momentum,
            max_grad_norm=recipe.max_grad_norm,
            private=self.private,
            epsilon=self.epsilon,
            delta=self.delta,
            unit=self.unit,
            trust=Trust.LOCAL,
            balance=self.balance,
            segments_per_track=recipe.segments_per_track,
            update_clip=recipe.update_clip,
            ring_bits=recipe.ring_bits if self.ring_bits is None else self.ring_bits,
            server_optimizer=recipe.server_optimizer,
            server_learning_rate=recipe.server_learning_rate,
            holdout=HOLDOUT,
            seed=secrets.randbits(31) if self.seed is None else self.seed,
        )
