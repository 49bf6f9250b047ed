"""A whole federation in one process: real labels, the real coordinator, and a grid that only passes messages on."""

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.supercore.task_identity import TaskIdentity

from sottovoce.features.extract import default_spec, summary_names
from sottovoce.federation.agreement import Agreement
from sottovoce.models import discovery
from sottovoce.models.parameters import initial
from sottovoce.run.configuration import RunConfiguration, Unit
from sottovoce.run.records import parameters_digest
from sottovoce_client.data.dataset import Sample, TrackDataset
from sottovoce_client.data.declaration import Suggestion, declare
from sottovoce_client.data.preparation import Prepared
from sottovoce_client.flower.client_app import client_app
from sottovoce_client.rounds import trainer
from sottovoce_client.rounds.label import Label
from sottovoce_simulations.engine.experiment import Experiment
from sottovoce_simulations.engine.local_federation import Federation
from sottovoce_simulations.engine.partition import Scheme

CLASSES = ("blues", "chorale", "techno")
SEED = 7


@dataclass
class LocalGrid:
    """Flower's grid as the strategy sees it; every message goes through the label's Flower app.

    `lose` says of (label, Flower's message type, reply) whether the reply is lost on its way.
    `tamper` may change what the coordinator sends; it sees (label, message).
    """

    labels: list[Label]
    app: ClientApp = field(init=False)
    lose: Callable[[str, str], bool] = lambda label, action: False
    tamper: Callable[[str, Message], None] = lambda label, message: None
    seen: list[tuple[str, str, Message]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.app = client_app(lambda context: self.labels[int(context.node_config["partition-id"])])

    def get_node_ids(self) -> Iterable[int]:
        return range(1, len(self.labels) + 1)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        replies = []
        for message in messages:
            node = message.metadata.dst_node_id
            name = self.labels[node - 1].home.name
            sent = copy.deepcopy(message)
            self.tamper(name, sent)
            context = Context(1, node, {"partition-id": node - 1}, RecordDict(), {})
            reply = self.app(sent, context)
            reply.metadata.__dict__["_src_node_id"] = node
            self.seen.append((name, message.metadata.message_type, reply))
            if not self.lose(name, message.metadata.message_type):
                replies.append(reply)
        return replies


def a_dataset(tracks: int, seed: int, *, artists: bool = False) -> TrackDataset:
    """Tracks whose style shows in their features, so that something can be learnt."""
    random = np.random.default_rng(seed)
    shape = (len(summary_names(default_spec())),)
    centres = np.random.default_rng(0).normal(size=(len(CLASSES), *shape))
    samples = []
    for track in range(tracks):
        target = track % len(CLASSES)
        segments = centres[target] + random.normal(size=(2, *shape))
        samples.append(Sample(segments.astype(np.float32), target, f"artist {track // 2}" if artists else None))
    return TrackDataset.build(samples, default_spec())


@pytest.fixture(autouse=True, scope="module")  # a package lasts to the session's end, in which other folders follow
def _no_engine_and_no_audio() -> Iterator[None]:
    """What Flower's engine sets before an app may make messages; and labels' data are made up, not extracted."""

    def prepared(home: object, config: object) -> Prepared:
        number = int(home.name[-1])  # type: ignore[attr-defined]
        artists = config.unit is Unit.ARTIST  # type: ignore[attr-defined]
        return Prepared(a_dataset(60, seed=number, artists=artists), a_dataset(15, seed=100 + number))

    with pytest.MonkeyPatch.context() as patch:
        for name in ("_task_id", "_run_id", "_node_id"):
            patch.setattr(TaskIdentity, name, 1)
        patch.setattr(trainer, "prepare", prepared)
        yield


@pytest.fixture(autouse=True)
def _quick_ledgers(ledgers_wait_for_no_disk: None) -> None:
    """For all tests here."""


@pytest.fixture(scope="session")
def federation_in() -> Callable[[Path], Federation]:
    """Makes five labels with homes, policies and ledgers in a folder."""

    def make(folder: Path) -> Federation:
        catalogues = [folder / "catalogues" / f"label-{number}" for number in range(1, 6)]
        for catalogue in catalogues:
            catalogue.mkdir(parents=True)
        experiment = Experiment(folder / "catalogues", Scheme.parse("as-is"))
        made = Federation.create(folder / "homes", catalogues, folder / "cache", experiment)
        for home in made.homes:
            declare(home, Suggestion(tracks=60, artists=30))
        return made

    return make


@pytest.fixture
def federation(federation_in: Callable[[Path], Federation], tmp_path: Path) -> Federation:
    return federation_in(tmp_path)


@pytest.fixture
def labels(federation: Federation) -> list[Label]:
    return [Label(home) for home in federation.homes]


@pytest.fixture(scope="session")
def grid_of() -> type[LocalGrid]:
    return LocalGrid


@pytest.fixture
def grid(labels: list[Label]) -> LocalGrid:
    return LocalGrid(labels)


@pytest.fixture
def agreement(federation: Federation) -> Agreement:
    return federation.agreement


@pytest.fixture(scope="session")
def config(configured: Callable[..., RunConfiguration]) -> RunConfiguration:
    return configured()


@pytest.fixture(scope="session")
def configured(run_configuration: Callable[..., RunConfiguration]) -> Callable[..., RunConfiguration]:
    """Makes a run of the linear model with its family's recipe; keywords override its configuration."""
    family = discovery.family("style", "svm")
    recipe = family.recipe(private=True)
    return partial(
        run_configuration,
        classes=CLASSES,
        feature_spec=default_spec().digest,
        local_steps=2,
        batch_size=20,
        learning_rate=recipe.learning_rate,
        momentum=recipe.momentum,
        max_grad_norm=recipe.max_grad_norm,
        update_clip=recipe.update_clip,
        first_parameters=parameters_digest(initial(family, default_spec(), len(CLASSES), SEED)).hex(),
        seed=SEED,
    )
