"""What a simulation is asked for, checked at birth, and how it becomes a run's configuration."""

from dataclasses import dataclass
from pathlib import Path

from sottovoce.errors import ConfigurationError
from sottovoce.federation.agreement import LEAST_PARTICIPANTS
from sottovoce.models.initialisation import first_parameters
from sottovoce.protocol.topology import most_corrupt, threshold
from sottovoce.run.configuration import NONE, Balance, RunConfiguration, Trust, Unit
from sottovoce.run.configure import DELTA, EPSILON, configure_run
from sottovoce_simulations.engine.partition import Scheme

MAY_DECLINE = 25
"""One label of so many."""

DISTRIBUTED_ONLY = ("min_honest", "sample_rate", "clip_quantile", "min_separation", "bands")
"""Fields of `Experiment` that mean nothing where noise is local."""


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
        noise: whether each label adds all of its noise, or all labels make one together.
        min_honest: of distributed noise, the number of honest labels it assumes; None for as many as survive a round at
            least, if fewer than a third collude.
        sample_rate: of distributed noise, the rate of each unit in a round, or None for the family's own.
        clip_quantile: of distributed noise, which quantile of gradient norms the clip follows; None keeps it fixed.
        min_separation: of distributed noise, rounds between two participations of a unit (banded matrix factorisation).
        bands: rounds that share correlated noise; None for as many as `min_separation`.
        init: what the model starts from, as `sottovoce.models.initialisation.first_parameters` takes it.
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
    noise: Trust = Trust.LOCAL
    min_honest: int | None = None
    sample_rate: float | None = None
    clip_quantile: float | None = None
    min_separation: int | None = None
    bands: int | None = None
    init: str | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.drop_out < 1:
            raise ConfigurationError(f"Expected a drop-out probability in [0, 1), not {self.drop_out}.")
        if self.seed is not None and self.seed < 0:
            raise ConfigurationError(f"Expected a seed >= 0, not {self.seed}.")

        if self.noise is not Trust.DISTRIBUTED:
            for name in DISTRIBUTED_ONLY:
                if getattr(self, name) is not None:
                    raise ConfigurationError(
                        f"{name}={getattr(self, name)} is for distributed noise.", hint="Add --noise distributed."
                    )
        elif not self.private:
            raise ConfigurationError("Without privacy there is no noise to share.")

    def check(self) -> None:
        """Find out before any work whether a run can be configured so.

        Raises:
            ConfigurationError: the task or family is unknown, a value is out of range, or there is no such start.
            ReleaseError: the release to start from is not in order.
        """
        config = self.run_configuration(classes=("one", "another"), labels=self.clients or LEAST_PARTICIPANTS)
        if self.init not in (None, NONE):
            first_parameters(config, self.init)

    def run_configuration(self, classes: tuple[str, ...], labels: int) -> RunConfiguration:
        """The configuration that the coordinator announces to so many labels.

        Raises:
            ConfigurationError: the task or family is unknown, or a value is out of range.
        """
        return configure_run(
            task=self.task,
            family=self.family,
            classes=classes,
            labels=labels,
            rounds=self.rounds,
            epsilon=self.epsilon,
            delta=self.delta,
            unit=self.unit,
            balance=self.balance,
            private=self.private,
            ring_bits=self.ring_bits,
            min_honest=self.min_honest_of(labels) if self.noise is Trust.DISTRIBUTED else None,
            sample_rate=self.sample_rate,
            clip_quantile=self.clip_quantile,
            min_separation=self.min_separation,
            bands=self.bands,
            seed=self.seed,
            init=self.init,
        )

    def min_honest_of(self, labels: int) -> int:
        """How many honest labels in a sum of a federation of so many labels the noise counts on."""
        if self.noise is not Trust.DISTRIBUTED:
            return 1
        least = self.least_participants(labels)
        return threshold(least) - most_corrupt(least) if self.min_honest is None else self.min_honest

    def least_participants(self, labels: int) -> int:
        """The agreement's `n_min` among so many labels.

        Distributed noise counts on the labels' taking part. One of 25 may decline, for small catalogues sometimes do;
        whoever drops out of a round does so after it began.
        """
        return labels - labels // MAY_DECLINE if self.noise is Trust.DISTRIBUTED else LEAST_PARTICIPANTS
