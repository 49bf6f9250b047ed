"""The configuration of a simulation, checked when constructed, and its conversion to a run's configuration."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from sottovoce.errors import ConfigurationError
from sottovoce.federation.agreement import LEAST_PARTICIPANTS
from sottovoce.protocol.topology import least_honest, majority, threshold
from sottovoce.run.configuration import RunConfiguration, Trust
from sottovoce.run.configure import configure_run
from sottovoce.run.knobs import Knob
from sottovoce.run.request import RunRequest
from sottovoce_simulations.engine.partition import Scheme

DISTRIBUTED_ONLY = ("min_honest", "sample_rate", "clip_quantile", "min_separation", "bands")
"""Fields of `Experiment` that apply only to distributed noise."""


@dataclass(frozen=True)
class Experiment(RunRequest):
    """One simulation: a run, and its simulated labels.

    Args:
        catalogues: one folder per label (as-is), or one pool that is split over clients.
        scheme: how catalogues become labels.
        clients: number of labels for a split pool; None for as-is.
        drop_out: probability that a label drops out of a round.
        noise: whether each label adds its own noise, or all labels add one together.
    """

    catalogues: Path
    scheme: Scheme
    clients: int | None = None
    drop_out: Annotated[float, Knob("Probability that a label drops out of a round.", range="[0, 1)")] = 0.0
    noise: Trust = Trust.LOCAL

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise is not Trust.DISTRIBUTED:
            for name in DISTRIBUTED_ONLY:
                if getattr(self, name) is not None:
                    raise ConfigurationError(
                        f"{name}={getattr(self, name)} applies to distributed noise only.",
                        hint="Add --noise distributed.",
                    )
        elif not self.private:
            raise ConfigurationError("Without privacy there is no noise to distribute.")

    def check(self) -> None:
        """Check, before any work, that a run can be configured.

        Raises:
            ConfigurationError: the task, family or start is unknown, or a value is out of range.
            ReleaseError: a check of the release to start from fails.
        """
        self.run_configuration(classes=("one", "another"), labels=self.clients or LEAST_PARTICIPANTS)

    def run_configuration(self, classes: tuple[str, ...], labels: int) -> RunConfiguration:
        """The run configuration for this number of labels.

        Raises:
            ConfigurationError: the task or family is unknown, or a value is out of range.
        """
        min_honest = self.min_honest_of(labels) if self.noise is Trust.DISTRIBUTED else None
        return configure_run(replace(self, min_honest=min_honest), classes=classes, labels=labels)

    def min_honest_of(self, labels: int) -> int:
        """Number of honest labels that distributed noise assumes in a sum, for a federation of this size."""
        if self.noise is not Trust.DISTRIBUTED:
            return 1
        return least_honest(labels, self.least_survivors(labels)) if self.min_honest is None else self.min_honest

    def least_survivors(self, labels: int) -> int:
        """The agreement's `n_min` for this number of labels: a majority, or two thirds with distributed noise.

        Distributed noise needs the labels in the sum.
        """
        return threshold(labels) if self.noise is Trust.DISTRIBUTED else max(LEAST_PARTICIPANTS, majority(labels))
