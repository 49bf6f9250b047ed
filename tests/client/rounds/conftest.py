"""One label in whole runs, recorded once: a test begins at any message, on a copy of the label's home as it was then.

The label has a real home; the others are protocol states in memory that report zeros.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from tests.small_run import small_run

from sottovoce.features.extract import default_spec, summary_names
from sottovoce.federation.agreement import Agreement, Member
from sottovoce.federation.identity import Identity
from sottovoce.models import discovery
from sottovoce.models.parameters import initial
from sottovoce.models.trainable import trainable_mask
from sottovoce.privacy.held_out import COUNTER_OFFSET
from sottovoce.protocol.aggregator import Aggregator
from sottovoce.protocol.layout import VectorLayout
from sottovoce.protocol.message import FORMER_VERSION, VERSION
from sottovoce.protocol.messages import Announcement, Kind, Message, RunOver, decode
from sottovoce.protocol.participant import Participant
from sottovoce.run.configuration import Balance, BandedFactorisation, DistributedNoise, RunConfiguration, Trust
from sottovoce.run.global_model import GlobalModel
from sottovoce.run.records import Carried, parameters_digest
from sottovoce.run.round_sum import RoundSum
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.budget.rows import Head, Row
from sottovoce_client.budget.rows import Kind as RowKind
from sottovoce_client.data.dataset import Sample, TrackDataset
from sottovoce_client.data.preparation import Prepared
from sottovoce_client.home.confirmations import confirm
from sottovoce_client.home.diary import What
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.rounds import trainer
from sottovoce_client.rounds.label import Label
from sottovoce_client.rounds.opened_home import OpenedHome
from sottovoce_client.rounds.run_state import RunState

ME, OTHERS = "label-1", ("label-2", "label-3", "label-4")
CLASSES = ("blues", "techno")
FEDERATION = "in-memory"
POLICY = {"declared_tracks": 60, "trust": ["local", "distributed"], "epsilon_lifetime": 100.0}


def a_dataset(tracks: int, seed: int) -> TrackDataset:
    """Tracks of both classes, two of the first for each one of the second."""
    values = np.random.default_rng(seed).normal(size=(tracks, 1, len(summary_names(default_spec()))))
    samples = [Sample(value.astype(np.float32), int(n % 3 == 2), None, n) for n, value in enumerate(values)]
    return TrackDataset.build(samples, default_spec())


@cache
def _prepared() -> Prepared:
    return Prepared(a_dataset(30, 1), a_dataset(9, 2))


@pytest.fixture
def prepared() -> Prepared:
    """The label's data, whatever the run."""
    return _prepared()


@pytest.fixture(autouse=True)
def _no_audio(monkeypatch: pytest.MonkeyPatch, ledgers_wait_for_no_disk: None) -> None:
    monkeypatch.setattr(trainer, "prepare", lambda home, config: _prepared())


def _config(**changes: Any) -> RunConfiguration:
    spec = default_spec()
    first = initial(discovery.family("style", "svm"), spec, len(CLASSES), 0)
    known = {"feature_spec": spec.digest, "first_parameters": parameters_digest(first).hex(), "classes": CLASSES}
    return small_run(**{**known, "rounds": 2, "evaluations": 2, **changes})


def _distributed(**changes: Any) -> RunConfiguration:
    noise = {"min_honest": 2, "noise_multiplier": 20.0, "sample_rate": 0.2, **changes}
    return _config(distributed=DistributedNoise(**noise), max_grad_norm=0.5)


CONFIGURATIONS: Mapping[str, Callable[[], RunConfiguration]] = {
    "local": lambda: _config(balance=Balance.LOSS),
    "former": lambda: _config(balance=Balance.LOSS),
    "without evaluations": lambda: _config(evaluations=0),
    "distributed": lambda: _distributed(clip_quantile=0.5),
    "banded": lambda: _distributed(sample_rate=1.0, banded=BandedFactorisation(2, (64, 32))),
    "without privacy": lambda: _config(private=False),
    "one step without privacy": lambda: _config(private=False, rounds=1),
}
"""Kinds of runs; "former" is one in the former version of the protocol."""


@dataclass(frozen=True)
class Moment:
    """The label's home before a message, the message, and what came with it."""

    root: Path
    message: Message
    carried: Carried


@dataclass
class Course:
    """One run.

    Args:
        folder: for the label's home at each moment.
        config: what is run.
        version: the protocol's.
        moments: each message to the label, by its name and round, such as "train 1".
    """

    folder: Path
    config: RunConfiguration
    version: int
    moments: dict[str, Moment] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.coordinator = Identity.generate()
        policy = tomli_w.dumps({**POLICY, "allow_non_private": not self.config.private})
        self.home = LabelHome.create(self.folder / "home", name=ME, policy=policy)
        self.identities = {ME: self.home.identity(), **{name: Identity.generate() for name in OTHERS}}
        members = tuple(Member(name, identity.public_key) for name, identity in self.identities.items())
        noise = Trust.DISTRIBUTED if self.config.distributed else Trust.LOCAL
        honest = 2 if self.config.distributed else 1
        self.agreement = Agreement(
            FEDERATION,
            self.coordinator.public_key,
            members,
            n_min=4 if honest > 1 else 3,
            noise=noise,
            min_honest=honest,
        )
        self.agreement.write(self.home.agreement_file)
        confirm(self.home, self.identities[ME], FEDERATION, members[1:])
        self.aggregator = Aggregator(self.agreement, self.announcement())
        self.aggregator.announced_in(self.version)
        self.others: dict[str, Participant] = {}
        self.first = initial(discovery.family("style", "svm"), default_spec(), len(CLASSES), self.config.seed)
        self.model = GlobalModel.start(
            self.config,
            run=self.aggregator.announcement.run,
            labels=len(members),
            trainable=trainable_mask(self.config),
            first=self.first,
        )
        self.sums: dict[int, bytes] = {}

    def announcement(self, config: RunConfiguration | None = None, version: int = VERSION) -> Announcement:
        """The announcement of a new run under the same agreement."""
        return Announcement.of(self.agreement, config or self.config, version=version)

    def ask(self, name: str, message: Message, carried: Carried) -> Message:
        """The label's answer; the moment before it is kept."""
        kept = shutil.copytree(self.home.root, self.folder / name)
        self.moments[name] = Moment(kept, message, carried)
        return decode(Label.open(self.home.root).answer(message.encode(), carried))

    def exchange(self, name: str, requests: Mapping[str, Message]) -> None:
        """Everybody answers a message that needs no training."""
        for label, message in requests.items():
            answer = self.ask(name, message, Carried()) if label == ME else self.others[label].answer(message)
            self.aggregator.receive(answer)

    def join(self) -> None:
        """All join, up to the run's first preparations."""
        announcement = self.aggregator.announcement
        self.aggregator.receive(self.ask("announce", announcement, Carried()))
        for name in OTHERS:
            self.others[name], advert = Participant.join(
                announcement,
                label=name,
                identity=self.identities[name],
                agreement=self.agreement,
                epsilon=8.0 if self.config.private else float("inf"),
                delta=1e-5 if self.config.private else 0.0,
            )
            self.aggregator.receive(advert)
        self.exchange("roster", self.aggregator.fix_members())
        self.exchange("nonces", self.aggregator.close_reveals())
        self.exchange("pairing", self.aggregator.close_ciphertexts())

    def round(self, number: int, kind: Kind) -> None:
        """One round of all labels, and what follows from its sum."""
        aggregator, model = self.aggregator, self.model
        ready = aggregator.ready(number)
        counters = len(discovery.task("style").counters(len(CLASSES)))
        layout = VectorLayout.for_round(self.config, kind, model.coordinates, counters, len(ready))
        request = aggregator.start_round(number, kind, ready, model.digest, layout.elements)
        carried = Carried(self.first if number == 1 else None, {each: self.sums[each] for each in [number - 1] if each})
        aggregator.receive(self.ask(f"{kind.name.lower()} {number}", request, carried))
        plain = np.zeros(layout.parameters, np.int64 if self.config.distributed else np.float32)
        for participant in self.others.values():
            participant.accept(request, model.digest)
            mine = None if kind is Kind.EVALUATE else plain
            aggregator.receive(participant.report(layout.encode(mine, np.full(counters, COUNTER_OFFSET))))
        self.exchange(f"cross-check {number}", aggregator.close_reports())
        self.exchange(f"unmask {number}", aggregator.close_cross_check())
        total = aggregator.finish()
        if kind is Kind.TRAIN:
            moving = RoundSum(number, len(ready), len(total.survivors), total.vector[: layout.parameters])
            model.follow(moving)
            self.sums[number] = moving.to_bytes(model.ring)

    def over(self) -> RunOver:
        """The end of the run after its last training round."""
        announcement, digest = self.aggregator.announcement, self.model.digest
        return RunOver.sign(
            self.coordinator,
            run=announcement.run,
            agreement=announcement.agreement,
            round=self.config.rounds,
            parameters_digest=digest,
            version=FORMER_VERSION,
        )


@pytest.fixture(scope="session")
def course_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Course]:
    """A whole run of a kind in `CONFIGURATIONS`, recorded when it is first asked for."""

    @cache
    def play(kind: str) -> Course:
        version = FORMER_VERSION if kind == "former" else VERSION
        course = Course(tmp_path_factory.mktemp("course"), CONFIGURATIONS[kind](), version)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trainer, "prepare", lambda home, config: _prepared())
            course.join()
            for number in range(1, course.config.rounds + 1):
                course.round(number, Kind.TRAIN)
            course.round(course.config.rounds + 1, Kind.EVALUATE)
        return course

    return play


@dataclass
class Here:
    """The label at one moment of a course, in a folder of its own.

    Args:
        course: the run.
        moment: the message that comes, and with what.
        home: the label's home.
    """

    course: Course
    moment: Moment
    home: LabelHome

    @property
    def run(self) -> bytes:
        """The run's id."""
        return self.course.aggregator.announcement.run

    @property
    def message(self) -> Any:
        """The message that comes."""
        return self.moment.message

    def answer(self, message: Message | None = None, *, carried: Carried | None = None, seed: int | None = None) -> Any:
        """The label's answer, in a process of its own, to the message of this moment or another one."""
        label = Label.open(self.home.root, simulation_seed=seed)
        frame = (message or self.moment.message).encode()
        return decode(label.answer(frame, carried or self.moment.carried))

    def of(self, name: str, **changes: Any) -> Any:
        """Another message of the course."""
        return replace(self.course.moments[name].message, **changes)

    def changed(self, **changes: Any) -> Any:
        """The message of this moment with other fields."""
        return replace(self.moment.message, **changes)

    def allow(self, **rules: Any) -> None:
        """The label's people change the policy."""
        self.home.write_policy(tomli_w.dumps({**POLICY, **rules}))

    def notes(self, what: What) -> list[dict[str, Any]]:
        """What the diary says, without what is the same in every note."""
        return [note.details for note in self.home.diary.notes() if note.what is what]

    def rows(self) -> list[Row]:
        """The ledger's rows, verified."""
        with Ledger(self.home.ledger_file) as ledger:
            return list(ledger.rows())

    def head(self) -> Head:
        """The ledger's newest row."""
        with Ledger(self.home.ledger_file) as ledger:
            return ledger.head

    def charges(self) -> dict[int, tuple[Any, ...]]:
        """What the ledger holds as spent, by round."""
        return {row.round: row.events for row in self.rows() if row.kind is RowKind.CHARGE}

    def state(self) -> RunState:
        """The run's state on disk."""
        return OpenedHome.of(self.home).states.load(self.run)

    def timed(self) -> list[tuple[int, str]]:
        """Rounds and stages in the file of timings."""
        file = self.home.timings_file
        lines = map(json.loads, file.read_text().splitlines()) if file.exists() else ()
        return [(line["round"], line["stage"]) for line in lines]


@pytest.fixture
def at(course_of: Callable[[str], Course], tmp_path: Path) -> Callable[..., Here]:
    """`at("train 1", "local")`: the label of that course when this message comes."""

    numbers = count()

    def begin(name: str, kind: str = "local") -> Here:
        course = course_of(kind)
        moment = course.moments[name]
        return Here(course, moment, LabelHome.open(shutil.copytree(moment.root, tmp_path / f"home-{next(numbers)}")))

    return begin


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[np.ndarray]]:
    """The vectors that the label masks, before that."""
    seen: list[np.ndarray] = []
    report = Participant.report

    def listened(participant: Participant, vector: np.ndarray) -> Message:
        seen.append(vector.copy())
        return report(participant, vector)

    monkeypatch.setattr(Participant, "report", listened)
    return seen
