"""Canaries for the labels' own code: a run that can be both attacked and inspected.

A canary is a track with one feature of 1 and all others 0: in the linear model (`svm`), its gradient lies in
coordinates that no other track affects, apart from the constant's. The run is real: `plan_of` plans it with a label's
kind of policy, `update_of` trains, and `GlobalModel` applies the sums up to the release. The view is that of a
coordinator that colludes with all but the honest labels: with local noise it sees one label's updates, with distributed
noise the sum over as many labels as the guarantee assumes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import scipy
from numpy.typing import NDArray

from sottovoce.errors import ConfigurationError
from sottovoce.features.extract import summary_names
from sottovoce.features.spec import View
from sottovoce.federation.agreement import LEAST_PARTICIPANTS, Agreement, Member
from sottovoce.federation.identity import Identity
from sottovoce.models import discovery
from sottovoce.models import parameters as flat
from sottovoce.models.interfaces import Batch
from sottovoce.models.style.svm import FAMILY
from sottovoce.privacy.plan import PrivacyPlan
from sottovoce.protocol.messages import Announcement
from sottovoce.protocol.participant import Participant
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import RunConfiguration, Unit
from sottovoce.run.records import parameters_digest
from sottovoce_client.data.dataset import Sample, TrackDataset
from sottovoce_client.home.policy import Policy
from sottovoce_client.rounds import local_round
from sottovoce_client.rounds.run_state import RunState

SPEC = discovery.spec_of(FAMILY.task, FAMILY.name)
FEATURES = len(summary_names(SPEC))
STYLES = tuple(f"style {number:02}" for number in range(20))
"""Invented styles; more styles give a canary more coordinates, and so measure noise more precisely."""
ROOM = 4.0, 64.0
"""Distance of an update from its clip, relative to the norm of its noise, and in gradients: it is never clipped."""
SEGMENTS = 2
"""Number of segments of each canary's track, all equal; together they must count as one."""


@dataclass(frozen=True)
class Watched(TrackDataset):
    """Tracks that record which units are sampled: training can only read tracks through this class."""

    drawn: list[NDArray[np.int64]] = field(default_factory=list, compare=False)
    padding: list[NDArray[np.int64]] = field(default_factory=list, compare=False)

    def random_tracks(self, count: int, randomness: Randomness) -> NDArray[np.int64]:
        """As for `TrackDataset`. Padding has weight zero, and counts as not sampled."""
        tracks = super().random_tracks(count, randomness)
        self.padding.append(self._units(tracks))
        return tracks

    def batch(self, tracks: NDArray[np.int64], segments_per_track: int, randomness: Randomness) -> Batch:
        """As for `TrackDataset`."""
        self.drawn.append(self._units(tracks))
        return super().batch(tracks, segments_per_track, randomness)

    def _units(self, tracks: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.unit_of[tracks[tracks >= 0]]  # an empty data set's padding is no track

    def counts(self) -> NDArray[np.int64]:
        """How often each unit was sampled since the last call: `[units]`."""
        read, padding = (
            np.bincount(np.concatenate([np.empty(0, np.int64), *some]), minlength=self.units)
            for some in (self.drawn, self.padding)
        )
        self.drawn.clear()
        self.padding.clear()
        return read - padding


@dataclass(frozen=True)
class Audited:
    """The labels of an audited run.

    Args:
        asked: the run's configuration, with the linear model.
        declared: number of units that each label's policy declares.
        members: number of labels in the agreement; the honest ones are audited.

    Raises:
        ConfigurationError: canaries cannot be planted in such a run.
    """

    asked: RunConfiguration
    declared: int
    members: int = LEAST_PARTICIPANTS

    def __post_init__(self) -> None:
        config = self.asked
        if (config.task, config.family) != (FAMILY.task, FAMILY.name) or not config.private or config.trainable:
            raise ConfigurationError(
                "Canaries are planted in private runs of the linear model that train all of its parameters.",
                hint="Audit --family svm with privacy: all families share the code that samples, clips and adds noise.",
            )

    @cached_property
    def first(self) -> NDArray[np.float32]:
        """Parameters before the first round: `[P]`."""
        return flat.initial(FAMILY, SPEC, len(self.asked.classes), seed=self.asked.seed)

    @cached_property
    def config(self) -> RunConfiguration:
        """The run's configuration. Its model is the sum of the updates, without clipping or adaptive server steps."""
        noise, gradients = ROOM
        reach = noise * np.sqrt(self.first.size) + gradients * self.asked.local_steps * self.signal
        return self.asked.changed(
            first_parameters=parameters_digest(self.first).hex(),
            update_clip=float(abs(self.step) * reach),
            server_optimizer="fedavg",
            server_learning_rate=1.0,
        )

    @property
    def labels(self) -> int:
        """Number of honest labels in the sum."""
        return self.asked.distributed.min_honest if self.asked.distributed else 1

    @property
    def canaries(self) -> int:
        """Number m of canaries: one per feature, or one per label if the unit is the label."""
        return min(FEATURES, self.labels) if self.asked.unit is Unit.LABEL else FEATURES

    @cached_property
    def identities(self) -> tuple[Identity, ...]:
        """Identities of all members."""
        return tuple(Identity.generate() for _ in range(max(self.members, self.labels, LEAST_PARTICIPANTS)))

    @cached_property
    def agreement(self) -> Agreement:
        """The labels' agreement."""
        members = (Member(_name(i), identity.public_key) for i, identity in enumerate(self.identities))
        return Agreement("audit", Identity.generate().public_key, tuple(members))

    @cached_property
    def announcement(self) -> Announcement:
        """The coordinator's announcement."""
        return Announcement.of(self.agreement, self.config)

    @cached_property
    def plan(self) -> PrivacyPlan:
        """The labels' declared plan, independent of their catalogues; `planned` before any of them has a catalogue."""
        return self.planned()

    def planned(self) -> PrivacyPlan:
        """A label's plan, from `plan_of` with a label's kind of policy.

        Raises:
            PrivacyError, CatalogueError: as for `plan_of`.
        """
        config = self.asked
        policy = Policy(
            epsilon_per_run=config.epsilon,
            epsilon_lifetime=config.epsilon,
            delta_max=config.delta,
            declared_tracks=self.declared,
            declared_artists=self.declared,
            trust=frozenset({config.trust}),
        )
        plan = local_round.plan_of(config, self.agreement, policy)
        if plan is None:
            raise ConfigurationError("A run without privacy has no plan to audit.")
        return plan

    def state(self, label: int) -> RunState:
        """A label's state of the run after joining."""
        plan = self.planned()
        participant, _ = Participant.join(
            self.announcement,
            label=_name(label),
            identity=self.identities[label],
            agreement=self.agreement,
            epsilon=plan.epsilon_ceiling,
            delta=plan.delta,
        )
        return RunState(participant, plan)

    def catalogue(self, canaries: Sequence[int] | NDArray[np.intp]) -> Watched:
        """Some canaries' tracks: one per unit, or two if the unit is the artist."""
        if not len(canaries):
            return Watched.empty(SPEC, View.SUMMARY)
        tracks, rows = (2 if self.config.unit is Unit.ARTIST else 1), np.eye(FEATURES, dtype=np.float32)
        samples = (
            Sample(
                np.tile(rows[canary], (SEGMENTS, 1)),
                int(canary) % len(self.config.classes),
                f"artist {canary}" if self.config.unit is Unit.ARTIST else None,
                subset_key=int(canary),
            )
            for canary in canaries
            for _ in range(tracks)
        )
        return Watched.build(samples, SPEC)

    @cached_property
    def step_weights(self) -> NDArray[np.float64]:
        """Weights of the local steps' sums in a round's update, from momentum: `[local_steps]`."""
        return np.cumsum(self.asked.momentum ** np.arange(self.asked.local_steps))[::-1]

    @cached_property
    def row(self) -> NDArray[np.float64]:
        """Weights of the last rounds' sums in a round's report, newest first, relative to its noise: `[bands]`."""
        mechanism = self.plan.mechanism
        return np.array(mechanism.coefficients if mechanism else (1,), np.float64)

    @cached_property
    def column(self) -> NDArray[np.float64]:
        """Weights of the rounds' reports in the release, from the inverse of the declared matrix: `[rounds]`."""
        first = np.zeros(self.asked.rounds)
        first[: len(self.row)] = self.row[: len(first)]
        matrix = scipy.linalg.toeplitz(first, np.zeros(len(first)))
        return np.asarray(scipy.linalg.solve_triangular(matrix, np.ones(len(first)), lower=True, trans=1))

    @cached_property
    def signal(self) -> float:
        """Length of one clipped gradient in a round's sum, relative to the noise's declared standard deviation."""
        mechanism = self.plan.mechanism
        if mechanism is None:
            return 1 / (self.plan.noise_multiplier * float(np.linalg.norm(self.step_weights)))
        return mechanism.scale / float(np.sqrt(self.labels * mechanism.variance))

    @cached_property
    def step(self) -> float:
        """Length of the model's step for a sum of length 1, with the initial clip."""
        config = self.asked
        gradients = -config.learning_rate / config.batch_size
        return config.max_grad_norm / self.signal * (-1 / self.labels if config.unit is Unit.LABEL else gradients)


def _name(label: int) -> str:
    return f"label-{label:05}"
