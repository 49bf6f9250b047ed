"""Promise: what labels train on and co-sign follows, to the bit, from the run's first parameters by its rounds' sums.

The attacks: labels took whatever parameters a coordinator sent, so that crafted ones asked questions about single
tracks, the same ones were measured twice, and after an honest run four of four labels co-signed random numbers.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from sottovoce.errors import ProtocolError
from sottovoce.features.extract import default_spec, summary_names
from sottovoce.models import discovery
from sottovoce.models.parameters import initial
from sottovoce.models.trainable import trainable_mask
from sottovoce.protocol.aggregator import Aggregator
from sottovoce.protocol.layout import VectorLayout
from sottovoce.protocol.messages import Announcement, Kind, Message, ReportRequest, decode
from sottovoce.protocol.violations import ImplausibleSum
from sottovoce.release.cosigning import CosignRequest
from sottovoce.release.manifest import MANIFEST_FILE
from sottovoce.release.write import Provenance, write
from sottovoce.run.configuration import DistributedNoise, RunConfiguration, Unit
from sottovoce.run.global_model import GlobalModel
from sottovoce.run.records import Carried, parameters_digest
from sottovoce.run.round_sum import RoundSum
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.data.dataset import Sample, TrackDataset
from sottovoce_client.data.declaration import Suggestion, declare
from sottovoce_client.data.preparation import Prepared
from sottovoce_client.home.diary import What
from sottovoce_client.rounds import trainer
from sottovoce_client.rounds.label import Label
from sottovoce_simulations.engine.experiment import Experiment
from sottovoce_simulations.engine.local_federation import Federation
from sottovoce_simulations.engine.partition import Scheme

CLASSES = ("blues", "chorale", "techno")
ROUNDS = 4
REFUSED = "UnfollowedParameters"


def a_dataset(tracks: int, seed: int) -> TrackDataset:
    features = np.random.default_rng(seed).normal(size=(tracks, 1, len(summary_names(default_spec()))))
    values = features.astype(np.float32)
    return TrackDataset.build((Sample(value, i % len(CLASSES), None) for i, value in enumerate(values)), default_spec())


@dataclass
class Coordinator:
    """An honest one, until a test has it send something else; `model` and `sums` are those of the run.

    Each message finds its label as a new process would.
    """

    federation: Federation
    config: RunConfiguration
    sums: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        agreement = self.federation.agreement
        self.aggregator = Aggregator(agreement, Announcement.of(agreement, self.config))
        self.roots = {home.name: home.root for home in self.federation.homes}
        family = discovery.family("style", "svm")
        self.first = initial(family, default_spec(), len(CLASSES), self.config.seed)
        self.model = self.started(self.config)
        self.exchange(dict.fromkeys(self.roots, self.aggregator.announcement))
        for step in (self.aggregator.fix_members, self.aggregator.close_reveals, self.aggregator.close_ciphertexts):
            self.exchange(step())

    def started(self, config: RunConfiguration) -> GlobalModel:
        known = {"run": self.aggregator.announcement.run, "labels": len(self.roots)}
        return GlobalModel.start(config, **known, trainable=trainable_mask(config), first=self.first)

    def ask(self, label: str, message: Message, carried: Carried | None = None) -> Message | str:
        """A label's answer, or the name of its refusal."""
        try:
            return decode(Label.open(self.roots[label]).answer(message.encode(), carried))
        except ProtocolError as error:
            return type(error).__name__

    def exchange(self, requests: dict[str, Message]) -> None:
        for label, message in requests.items():
            self.aggregator.receive(self.ask(label, message))

    def carried(self, number: int) -> Carried:
        return Carried(self.first, {earlier: self.sums[earlier] for earlier in range(1, number)})

    def request(self, number: int, digest: bytes | None = None, kind: Kind = Kind.TRAIN) -> ReportRequest:
        """A round of everybody; of the honest model, unless another digest is given."""
        self.exchange(self.aggregator.prepare_requests(number))
        counters = len(discovery.task("style").counters(len(CLASSES)))
        self.layout = VectorLayout.for_round(self.config, kind, self.model.coordinates, counters, len(self.roots))
        digest = self.model.digest if digest is None else digest
        return self.aggregator.start_round(number, kind, self.roots, digest, self.layout.elements)

    def answers(
        self, number: int, digest: bytes | None = None, carried: Carried | None = None, kind: Kind = Kind.TRAIN
    ) -> set[str]:
        """What labels say to a round, each kind of answer once; reports are taken in."""
        request = self.request(number, digest, kind)
        said = {label: self.ask(label, request, carried or self.carried(number)) for label in self.roots}
        for answer in said.values():
            if isinstance(answer, Message):
                self.aggregator.receive(answer)
        return {"report" if isinstance(answer, Message) else answer for answer in said.values()}

    def open(self, number: int) -> None:
        """Unmask a round; the model follows its sum."""
        self.exchange(self.aggregator.close_reports())
        self.exchange(self.aggregator.close_cross_check())
        total = self.aggregator.finish()
        if total.kind is Kind.TRAIN:
            coordinates = total.vector[: self.layout.parameters]
            moving = RoundSum(number, len(self.roots), len(total.survivors), coordinates)
            self.model.follow(moving)
            self.sums[number] = moving.to_bytes(self.model.ring)

    def play(self, rounds: int, *, first: int = 1) -> None:
        for number in range(first, rounds + 1):
            assert self.answers(number) == {"report"}
            self.open(number)

    def end(self) -> None:
        assert self.answers(ROUNDS + 1, kind=Kind.EVALUATE) == {"report"}
        self.open(ROUNDS + 1)

    def charged(self) -> set[int]:
        found = set()
        for home in self.federation.homes:
            with Ledger(home.ledger_file) as ledger:
                found |= {row.round for row in ledger.rows() if row.kind == "charge"}
        return found

    def read(self, number: int) -> RoundSum:
        return RoundSum.from_bytes(number, self.sums[number], self.model.ring, self.model.coordinates)


@pytest.fixture
def coordinator(tmp_path, monkeypatch, run_configuration, ledgers_wait_for_no_disk):
    """Four labels that have set a run up, with their coordinator."""
    folders = [tmp_path / "catalogues" / f"label-{number}" for number in range(1, 5)]
    for folder in folders:
        folder.mkdir(parents=True)
    federation = Federation.create(
        tmp_path / "homes", folders, tmp_path / "cache", Experiment(tmp_path / "catalogues", Scheme.parse("as-is"))
    )
    for home in federation.homes:
        declare(home, Suggestion(tracks=40, artists=20))
    monkeypatch.setattr(
        trainer, "prepare", lambda home, config: Prepared(a_dataset(40, int(home.name[-1])), a_dataset(9, 50))
    )
    first = initial(discovery.family("style", "svm"), default_spec(), len(CLASSES), 7)
    config = run_configuration(
        classes=CLASSES,
        feature_spec=default_spec().digest,
        first_parameters=parameters_digest(first).hex(),
        rounds=ROUNDS,
        local_steps=2,
        batch_size=20,
        server_optimizer="fedadam",
        server_learning_rate=0.1,
        seed=7,
    )
    return Coordinator(federation, config)


def test_an_honest_run_is_followed_to_its_end(coordinator):
    coordinator.play(ROUNDS)
    coordinator.end()
    notes = [note for home in coordinator.federation.homes for note in home.diary.notes()]
    assert len({note.details["weights"] for note in notes if note.what is What.FOLLOWED}) == 1
    assert not any(list(home.runs.glob("*.model")) for home in coordinator.federation.homes)


def test_no_crafted_parameters_in_a_later_round(coordinator):
    coordinator.play(1)
    crafted = np.zeros_like(coordinator.first)
    crafted[:3] = 1e4
    digest = parameters_digest(crafted)
    assert coordinator.answers(2, digest) == {REFUSED}
    assert coordinator.answers(3, digest, Carried(crafted, {})) == {REFUSED}
    assert coordinator.charged() == {1}
    notes = [note for note in coordinator.federation.homes[0].diary.notes() if note.what is What.ROUND_DECLINED]
    assert {note.details["reason"] for note in notes} == {"unfollowed"}


def test_no_other_first_parameters_than_were_signed(coordinator):
    crafted = coordinator.first + np.float32(1)
    assert coordinator.answers(1, parameters_digest(crafted), Carried(crafted, {})) == {REFUSED}
    assert coordinator.answers(2, parameters_digest(crafted), Carried(crafted[1:], {})) == {"WrongParameters"}
    assert coordinator.charged() == set()


def test_not_the_same_parameters_twice(coordinator):
    start = coordinator.model.digest
    coordinator.play(1)
    assert coordinator.answers(2, start) == {REFUSED}
    assert coordinator.answers(3, start, Carried(coordinator.first, {})) == {REFUSED}


def test_no_sum_beyond_what_honest_labels_can_make(coordinator):
    coordinator.play(1)
    honest, model = coordinator.read(1), coordinator.started(coordinator.config)
    layout = VectorLayout.for_round(coordinator.config, Kind.TRAIN, model.coordinates, 0, 4)
    longest = replace(honest, vector=np.full_like(honest.vector, 4 * layout.quantiser.top))
    with pytest.raises(ImplausibleSum):
        model.follow(longest)
    coordinator.sums[1] = longest.to_bytes(model.ring)
    assert coordinator.answers(2) == {REFUSED}


@pytest.mark.parametrize("unit", [Unit.TRACK, Unit.LABEL])
def test_no_such_sum_with_distributed_noise_either(coordinator, unit):
    noise = DistributedNoise(min_honest=2, noise_multiplier=1.0, sample_rate=1.0)
    config = coordinator.config.changed(distributed=noise, local_steps=1, unit=unit)
    model = coordinator.started(config)
    before = model.to_bytes()
    with pytest.raises(ImplausibleSum):
        model.follow(RoundSum(1, 4, 4, np.full(model.coordinates, 1 << 30, np.uint32)))
    assert model.to_bytes() == before


@pytest.mark.parametrize(
    "changes",
    [
        {"server_learning_rate": 0.2},
        {"server_optimizer": "fedyogi"},
        {"server_beta_1": 0.0},
        {"server_beta_2": 0.999},
        {"server_tau": 1e-8},
        {"update_clip": 0.5},
    ],
    ids=str,
)
def test_no_other_optimiser_than_was_announced(coordinator, changes):
    coordinator.play(1)
    other = coordinator.started(coordinator.config.changed(**changes))
    other.follow(coordinator.read(1))
    assert other.digest != coordinator.model.digest
    assert coordinator.answers(2, other.digest) == {REFUSED}


def test_a_resumed_run_does_not_roll_back(coordinator):
    """The coordinator goes on from an older checkpoint, and says of what came after that it was aborted."""
    coordinator.play(3)
    true = dict(coordinator.sums)
    older, aborted = coordinator.started(coordinator.config), RoundSum.aborted(2, coordinator.model.ring)
    for total in (coordinator.read(1), aborted, replace(aborted, round=3)):
        older.follow(total)
    lost = aborted.to_bytes(older.ring)
    coordinator.sums |= {2: lost, 3: lost}
    assert coordinator.answers(4, older.digest) == {REFUSED}
    # Nor does it help to send the true sums, and to go back by the digest alone.
    coordinator.sums = {**true, 4: lost}
    assert coordinator.answers(5, older.digest, kind=Kind.EVALUATE) == {REFUSED}


def test_another_sum_for_a_round_that_was_followed_is_noticed(coordinator):
    coordinator.play(2)
    honest = coordinator.read(1)
    coordinator.sums[1] = replace(honest, vector=honest.vector ^ 1).to_bytes(coordinator.model.ring)
    assert coordinator.answers(3) == {REFUSED}


def test_not_the_same_noised_sum_in_two_rounds(coordinator):
    """Own attack: a sum that moves the model where the coordinator wants it is good for every later round, too."""
    coordinator.play(2)
    coordinator.sums[2] = coordinator.sums[1]
    again = coordinator.started(coordinator.config.changed(private=False))  # which has no such rule
    again.follow(coordinator.read(1))
    again.follow(replace(coordinator.read(1), round=2))
    assert coordinator.answers(3, again.digest) == {REFUSED}


def test_no_fewer_survivors_than_a_label_signed(coordinator):
    """Own attack: a sum over four, told to be one over three with zero where the fourth was, has a longer mean."""
    coordinator.play(1)
    honest, other = coordinator.read(1), coordinator.started(coordinator.config)
    zero = VectorLayout.for_round(coordinator.config, Kind.TRAIN, other.coordinates, 0, 4).quantiser.top // 2
    told = replace(honest, survivors=3, vector=honest.vector - np.uint32(zero))
    other.follow(told)  # within the bound
    coordinator.sums[1] = told.to_bytes(other.ring)
    assert coordinator.answers(2, other.digest) == {REFUSED}


@pytest.mark.parametrize(("participants", "survivors"), [(3, 3), (4, 1), (4, 5), (2**31, 4)])
def test_no_counts_that_no_round_of_the_run_can_have(coordinator, participants, survivors):
    coordinator.play(1)
    told = replace(coordinator.read(1), participants=participants, survivors=survivors)
    coordinator.sums[1] = told.to_bytes(coordinator.model.ring)
    assert coordinator.answers(2) <= {REFUSED, "WrongParameters"}


def test_a_label_on_a_path_of_its_own_is_in_nobodys_sum(coordinator):
    """Own attack, which nearly works: an invented sum within the bound leads one label alone to crafted parameters.

    It trains on them. But its report answers a request that nobody else was sent: no sum with it in can be opened.
    """
    coordinator.play(1)
    honest, model = coordinator.read(1), coordinator.started(coordinator.config)
    invented = replace(honest, vector=np.roll(honest.vector, 7))
    model.follow(invented)
    request = coordinator.request(2)
    alone = replace(request, parameters_digest=model.digest)
    carried = Carried(None, {1: invented.to_bytes(model.ring)})
    said = {label: coordinator.ask(label, request, coordinator.carried(2)) for label in list(coordinator.roots)[1:]}
    lured = coordinator.ask("label-1", alone, carried)
    assert isinstance(lured, Message)
    for answer in said.values():
        coordinator.aggregator.receive(answer)
    with pytest.raises(ProtocolError):
        coordinator.aggregator.receive(lured)


@pytest.fixture
def cosigned(coordinator, tmp_path):
    """What each label says when it is asked to co-sign these parameters as the run's."""

    def ask(parameters: np.ndarray) -> dict[str, str]:
        agreement, run = coordinator.federation.agreement, coordinator.aggregator.announcement.run
        adverts = coordinator.aggregator.adverts.values()
        promises = [(advert.epsilon, advert.delta) for advert in adverts]
        provenance = Provenance(
            coordinator.config, default_spec(), agreement, run, ROUNDS, promises, start="none", seeded=False
        )
        folder: Path = tmp_path / "release"
        write(folder, provenance, parameters, coordinator.federation.coordinator, name="isles", replace=True)
        frame = CosignRequest(run, (folder / MANIFEST_FILE).read_bytes(), (1, 2)).to_bytes()
        said = {}
        for label, root in coordinator.roots.items():
            try:
                Label.open(root).cosign(frame)
                said[label] = "signed"
            except ProtocolError as error:
                said[label] = type(error).__name__
        return said

    return ask


def test_nobody_co_signs_random_numbers_after_an_honest_run(coordinator, cosigned):
    coordinator.play(ROUNDS)
    coordinator.end()
    random = np.random.default_rng(0).normal(size=coordinator.first.size).astype(np.float32)
    assert set(cosigned(random).values()) == {"OtherAccount"}
    nudged = coordinator.model.parameters.copy()
    nudged[0] = np.nextafter(nudged[0], np.float32(1))
    assert set(cosigned(nudged).values()) == {"OtherAccount"}
    assert set(cosigned(coordinator.model.parameters).values()) == {"signed"}


def test_who_did_not_follow_to_the_end_co_signs_nothing(coordinator, cosigned):
    """The model before the last sum is one that labels did follow, and not the run's."""
    coordinator.play(ROUNDS)
    assert set(cosigned(coordinator.model.parameters).values()) == {"NotFollowed"}
