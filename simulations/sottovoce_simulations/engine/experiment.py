"""What a simulation is asked for, checked at birth, and how it becomes a run's configuration."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from sottovoce.errors import ConfigurationError
from sottovoce.federation.agreement import LEAST_PARTICIPANTS
from sottovoce.models.initialisation import initial_parameters
from sottovoce.protocol.topology import least_honest, majority, threshold
from sottovoce.run.configuration import NONE, RunConfiguration, Trust
from sottovoce.run.configure import configure_run
from sottovoce.run.knobs import Knob
from sottovoce.run.request import RunRequest
from sottovoce_simulations.engine.partition import Scheme

DISTRIBUTED_ONLY = ("min_honest", "sample_rate", "clip_quantile", "min_separation", "bands")
"""Fields of `Experiment` that mean nothing where noise is local."""


@dataclass(frozen=True)
class Experiment(RunRequest):
    """One simulation: a run, and the labels that it is simulated with.

    Args:
        catalogues: one folder a label (as-is), or one pool that is split over clients.
        scheme: how catalogues become labels.
        clients: number of labels for a split pool; None for as-is.
        drop_out: probability that a label vanishes in a round.
        noise: whether each label adds all of its noise, or all labels make one together.
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
            initial_parameters(config, self.init)

    def run_configuration(self, classes: tuple[str, ...], labels: int) -> RunConfiguration:
        """The configuration that the coordinator announces to so many labels.

        Raises:
            ConfigurationError: the task or family is unknown, or a value is out of range.
        """
        min_honest = self.min_honest_of(labels) if self.noise is Trust.DISTRIBUTED else None
        return configure_run(replace(self, min_honest=min_honest), classes=classes, labels=labels)

    def min_honest_of(self, labels: int) -> int:
        """How many honest labels in a sum of a federation of so many labels the noise counts on."""
        if self.noise is not Trust.DISTRIBUTED:
            return 1
        return least_honest(labels, self.least_survivors(labels)) if self.min_honest is None else self.min_honest

    def least_survivors(self, labels: int) -> int:
        """The agreement's `n_min` among so many labels: a majority, or two thirds where noise is distributed.

        Distributed noise counts on the labels' being in the sum.
        """
        return threshold(labels) if self.noise is Trust.DISTRIBUTED else max(LEAST_PARTICIPANTS, majority(labels))
