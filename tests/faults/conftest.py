"""Real labels with homes on disk, a real aggregator, and faults injected while a message is handled."""

import os
import shutil
import signal
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sottovoce.errors import SottovoceError
from sottovoce.features.extract import default_spec, summary_names
from sottovoce.federation.agreement import Agreement
from sottovoce.models import discovery
from sottovoce.models.parameters import initial
from sottovoce.protocol.aggregator import Aggregator, Sum
from sottovoce.protocol.layout import VectorLayout
from sottovoce.protocol.messages import Announcement, Kind, Message, ReportRequest, decode
from sottovoce.protocol.participant import Participant
from sottovoce.protocol.ring import Ring
from sottovoce.protocol.topology import threshold
from sottovoce.run.configuration import RunConfiguration, Trust
from sottovoce.run.records import Carried, parameters_digest
from sottovoce.run.round_sum import RoundSum
from sottovoce_client.budget import ledger as ledger_module
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.data.dataset import Sample, TrackDataset
from sottovoce_client.data.declaration import Suggestion, declare
from sottovoce_client.data.preparation import Prepared
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.rounds import trainer
from sottovoce_client.rounds.label import Label
from sottovoce_client.rounds.local_round import LEAST_UNITS
from sottovoce_simulations.engine.experiment import Experiment
from sottovoce_simulations.engine.local_federation import Federation
from sottovoce_simulations.engine.partition import Scheme

CLASSES = ("blues", "chorale", "techno")


@pytest.fixture(autouse=True)
def _quick_ledgers(ledgers_wait_for_no_disk: None) -> None:
    """For all tests here."""


@cache
def _prepared(number: int) -> Prepared:
    def dataset(tracks: int, seed: int) -> TrackDataset:
        random, shape = np.random.default_rng(seed), (2, len(summary_names(default_spec())))
        values = random.normal(size=(tracks, *shape)).astype(np.float32)
        return TrackDataset.build(
            [Sample(value, track % len(CLASSES), None, track) for track, value in enumerate(values)], default_spec()
        )

    return Prepared(dataset(40, number), dataset(9, 100 + number))


@dataclass
class Table:
    """Everybody of one run. Each message finds its label as a new process would: opened from its disk.

    `sent` holds what each label was asked, and whether it answered; `vectors` what it put into a round, unmasked.
    """

    homes: dict[str, LabelHome]
    agreement: Agreement
    config: RunConfiguration
    aggregator: Aggregator = field(init=False)
    sent: list[tuple[str, Message, bool]] = field(default_factory=list)
    vectors: dict[tuple[int, str], np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.aggregator = Aggregator(self.agreement, Announcement.of(self.agreement, self.config))
        family = discovery.family(self.config.task, self.config.family)
        self.parameters = initial(family, default_spec(), len(CLASSES), self.config.seed)

    def restart_coordinator(self) -> None:
        """What is left is what a coordinator keeps: the announcement and the set-up."""
        kept = Aggregator(self.agreement, self.aggregator.announcement)
        kept.restore([decode(message) for message in self.aggregator.setup_messages()], 0)
        self.aggregator = kept

    def carried(self, message: Message) -> Carried:
        """What rides along: to labels all earlier rounds were aborted, so that the model stays as it began."""
        if not isinstance(message, ReportRequest):
            return Carried()
        ring = Ring(self.config.ring_bits)
        return Carried(
            self.parameters,
            {number: RoundSum.aborted(number, ring).to_bytes(ring) for number in range(1, message.round)},
        )

    def ask(self, label: str, message: Message) -> Message | None:
        """A label's answer; None where it does not answer."""
        try:
            answer = decode(Label.open(self.homes[label].root).answer(message.encode(), self.carried(message)))
        except (SottovoceError, OSError):
            self.sent.append((label, message, False))
            return None
        self.sent.append((label, message, True))
        return answer

    def ask_and_kill(self, label: str, message: Message, arm: Callable[[], None]) -> int:
        """A separate process handles the message and is killed on the way: its exit status."""
        process = os.fork()
        if not process:  # nothing of pytest's may run in here
            try:
                signal.alarm(600)
                arm()
                Label.open(self.homes[label].root).answer(message.encode(), self.carried(message))
            finally:
                os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

    def set_up(self) -> None:
        """All that have joined complete the set-up."""
        self.exchange(self.aggregator.fix_members())
        self.exchange(self.aggregator.close_reveals())
        self.exchange(self.aggregator.close_ciphertexts())

    def exchange(self, requests: Mapping[str, Message], away: Collection[str] = ()) -> None:
        """Everybody but those who are away is asked, and answers."""
        for label, message in requests.items():
            if label not in away and (answer := self.ask(label, message)) is not None:
                self.aggregator.receive(answer)

    def request(self, number: int, away: Collection[str] = ()) -> ReportRequest:
        """Open a round with everybody who is prepared; those that are not, and not away, prepare first."""
        config = self.config
        self.exchange(self.aggregator.prepare_requests(number), away)
        counters = len(discovery.task(config.task).counters(len(CLASSES)))
        participants = self.aggregator.ready(number)
        most = max(1, len(participants))  # with nobody prepared, the round is refused below
        layout = VectorLayout.for_round(config, Kind.TRAIN, self.parameters.size, counters, most)
        digest = parameters_digest(self.parameters)
        return self.aggregator.start_round(number, Kind.TRAIN, participants, digest, layout.elements)

    def exact(self, total: Sum) -> bool:
        """Whether a sum equals that of its survivors' vectors exactly."""
        ring = Ring(self.config.ring_bits)
        expected = ring.zeros(total.vector.size)
        for label in total.survivors:
            expected += self.vectors[total.round, label]
        ring.reduce(expected)
        return bool((expected == total.vector).all())

    def charged(self, label: str) -> list[int]:
        """Rounds that a label's ledger, verified from its first row on, holds as spent."""
        with Ledger(self.homes[label].ledger_file) as ledger:
            return [row.round for row in ledger.rows() if row.kind is ledger_module.Kind.CHARGE]

    def spent(self, label: str) -> float:
        """ε of a label's charges."""
        with Ledger(self.homes[label].ledger_file) as ledger:
            return ledger.epsilon(self.config.delta)


@pytest.fixture(scope="session")
def _federations(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], tuple[Federation, RunConfiguration]]:
    """A federation for each kind of noise and number of labels, made once and copied by every test."""

    @cache
    def make(noise: str, labels: int) -> tuple[Federation, RunConfiguration]:
        root = tmp_path_factory.mktemp("federation")
        folders = [root / "catalogues" / f"label-{number}" for number in range(1, labels + 1)]
        for folder in folders:
            folder.mkdir(parents=True)
        distributed = noise != "local"
        experiment = Experiment(
            root / "catalogues",
            Scheme.parse("as-is"),
            rounds=4,
            noise=Trust.DISTRIBUTED if distributed else Trust.LOCAL,
            min_honest=2 if distributed else None,
            min_separation=2 if noise == "banded" else None,
            seed=7,
        )
        config = experiment.run_configuration(CLASSES, labels)
        first = initial(discovery.family("style", "svm"), default_spec(), len(CLASSES), config.seed)
        config = config.changed(first_parameters=parameters_digest(first).hex())
        if not distributed:
            config = config.changed(local_steps=2, batch_size=20)
        federation = Federation.create(root / "homes", folders, root / "cache", experiment)
        agreement = replace(federation.agreement, n_min=threshold(labels))
        for home in federation.homes:
            agreement.write(home.agreement_file)
            declare(home, Suggestion(LEAST_UNITS, LEAST_UNITS))  # its tracks are made, not in its folder
        return replace(federation, agreement=agreement), config

    return make


@pytest.fixture(autouse=True, scope="module")  # a package lasts to the session's end, in which other folders follow
def _no_audio() -> Iterator[None]:
    """No label has a catalogue: its data are drawn from its number."""
    torch.set_num_threads(1)  # a forked process has no use for the pool of its parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "prepare", lambda home, config: _prepared(int(home.name[-1])))
        yield


@pytest.fixture(scope="session")
def table_in(
    tmp_path_factory: pytest.TempPathFactory, _federations: Callable[[str, int], tuple[Federation, RunConfiguration]]
) -> Callable[..., Table]:
    """Makes a table of labels whose homes are in a folder.

    All have joined, and are what their disks hold then, the coordinator as well; or, with `new`, none has.
    """

    def copies(homes: Iterable[LabelHome], folder: Path) -> dict[str, LabelHome]:
        return {home.name: LabelHome.open(shutil.copytree(home.root, folder / home.name)) for home in homes}

    @cache
    def joined(noise: str, labels: int) -> Table:
        table = make(tmp_path_factory.mktemp("joined"), noise, labels, new=True)
        table.exchange(dict.fromkeys(table.homes, table.aggregator.announcement))
        table.set_up()
        return table

    def make(folder: Path, noise: str = "local", labels: int = 5, *, new: bool = False) -> Table:
        federation, config = _federations(noise, labels)
        if new:
            return Table(copies(federation.homes, folder), federation.agreement, config)
        template = joined(noise, labels)
        table = Table(copies(template.homes.values(), folder), federation.agreement, config, sent=[*template.sent])
        table.aggregator = deepcopy(template.aggregator)
        return table

    return make


@pytest.fixture
def a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table_in: Callable[..., Table]) -> Callable[..., Table]:
    """`table_in` for one test, and listens to what its labels report."""

    def make(*arguments: Any, **options: Any) -> Table:
        table = table_in(tmp_path, *arguments, **options)
        report = Participant.report

        def listened(participant: Participant, vector: np.ndarray) -> Message:
            plain = vector.copy()
            made = report(participant, vector)
            table.vectors[made.round, made.label] = plain
            return made

        monkeypatch.setattr(Participant, "report", listened)
        return table

    return make
