"""The attacks that worked on the code before verified rounds (commit 81bdfa3), each with its figure.

`docs/security.md`, "What worked on the former code", has the figures beside the tests that try the same now. To run:

    git worktree add /tmp/former 81bdfa3 && cd /tmp/former
    PYTHONPATH=.:shared:client:server:simulations python PATH/TO/tests/attacks/former/attacks.py

Everything imported is that commit's, which the present one has under other names.
"""

import hashlib
import logging
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
from flwr.supercore.task_identity import TaskIdentity
from sklearn.metrics import roc_auc_score
from tests.federation.conftest import LocalGrid, a_config, a_dataset

from sottovoce.errors import CatalogueError, ProtocolError, UserError
from sottovoce.features.extract import default_spec, summary_names
from sottovoce.federation.agreement import Agreement, Member
from sottovoce.federation.identity import Identity
from sottovoce.federation.invitation import Invitation
from sottovoce.privacy.accountant import epsilon
from sottovoce.privacy.calibration import plan_for
from sottovoce.privacy.distributed_gaussian import _rounded
from sottovoce.privacy.events import Gaussian
from sottovoce.privacy.plan import PrivacyPlan
from sottovoce.protocol.keys import RunKey
from sottovoce.protocol.layout import VectorLayout
from sottovoce.protocol.topology import COMMITTEE, Topology, threshold
from sottovoce.randomness import Randomness
from sottovoce.release.check import check
from sottovoce.release.cosigning import CosignRequest
from sottovoce.release.manifest import MANIFEST_FILE
from sottovoce.release.write import Provenance, cosign, write
from sottovoce.run.configuration import Trust, Unit
from sottovoce_client.budget.ledger import Ceilings, Ledger
from sottovoce_client.catalogue.holdout import holdout
from sottovoce_client.data.dataset import Sample, TrackDataset
from sottovoce_client.data.preparation import Prepared
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.pinning import pin
from sottovoce_client.home.policy import Policy
from sottovoce_client.rounds import local_round, trainer
from sottovoce_client.rounds.label import Label
from sottovoce_server.flower.run_app import train
from sottovoce_simulations.engine.experiment import Experiment
from sottovoce_simulations.engine.in_process_rounds import InMemoryRounds, plain_config
from sottovoce_simulations.engine.local_federation import Federation
from sottovoce_simulations.engine.partition import Scheme

RANDOM = np.random.default_rng(1)
ATTACKS: list[Callable[[], Iterator[str]]] = []


def attack(run: Callable[[], Iterator[str]]) -> Callable[[], Iterator[str]]:
    ATTACKS.append(run)
    return run


@attack
def exact_answers() -> Iterator[str]:
    """1: a model of the coordinator's own making asks about one track at a time."""
    spec, config = default_spec(), a_config()
    vectors = RANDOM.normal(size=(40, len(summary_names(spec)))).astype(np.float32)
    held_out = TrackDataset.build((Sample(each[None], 0) for each in vectors[:20]), spec)

    def recognised(vector: np.ndarray) -> int:
        weights = np.zeros((len(config.classes), len(vector) + 1), np.float32)
        weights[1, :-1], weights[1, -1] = vector / np.linalg.norm(vector), -0.9 / 0.2
        counters = local_round.counters_of(config, weights.ravel(), Prepared(None, held_out))
        return int(counters[:-1].reshape(len(config.classes), -1)[:, 1].sum())

    found = [recognised(vector) for vector in vectors]
    yield f"{sum(found[:20])} of 20 held-out tracks found, {sum(found[20:])} of 20 others"
    tracks = [SimpleNamespace(artist_key=None, album_key=None, digest=f"{number}") for number in range(100)]
    first, second = (holdout(tracks, share, key=b"key") for share in (0.2, 0.6))
    both = set(map(id, first.train)) & set(map(id, second.held_out))
    yield f"a second run holds out {len(both)} of the {len(first.train)} tracks that the first one trained on"
    coordinator = Identity.generate()
    members = tuple(Member(f"label-{number}", Identity.generate().public_key) for number in range(5))
    many = config.changed(rounds=1000, epsilon=0.001, local_steps=1)
    refused = local_round.objection(many, Agreement("isles", coordinator.public_key, members), Policy())
    yield f"a run of 1,000 rounds, and as many exact evaluations, at ε = 0.001: {refused or 'accepted'}"


@attack
def crafted_parameters() -> Iterator[str]:
    """1: labels train on whatever they are sent."""
    table = InMemoryRounds(4)
    table.join()
    for number in (1, 2):
        request = table.request(number, 8)  # names the same parameters in both rounds, which follow from nothing
        for participant in table.participants.values():
            participant.accept(request, bytes(32))
    yield f"the same made-up parameters in two rounds: accepted by {len(table.participants)} of 4 labels"


@attack
def noise_tells_the_number() -> Iterator[str]:
    """2: 200 styles, 4 rounds; which of two neighbouring catalogues is it?"""
    config = plain_config(32).changed(rounds=4, epsilon=0.5, batch_size=50)
    stds = [plan_for(config, number).noise_std for number in (100, 99)]
    size, trials = 4 * 200 * (len(summary_names(default_spec())) + 1), 60
    scores = [RANDOM.normal(0, std, size).std() for std in stds for _ in range(trials)]
    auc = roc_auc_score([stds[0] > stds[1]] * trials + [stds[0] <= stds[1]] * trials, scores)
    spent = plan_for(config, 100).epsilon
    yield f"100 tracks against 99, ε = {spent:.3f}: AUC {auc:.3f}, where {1 / (1 + math.exp(-spent)):.3f} is allowed"


@attack
def directory() -> Iterator[str]:
    """3: one label among nine of the coordinator's."""
    with tempfile.TemporaryDirectory() as folder:
        root, coordinator = Path(folder), Identity.generate()
        home = LabelHome.create(root / "home", name="victim")
        invented = (Member(f"invented-{number}", Identity.generate().public_key) for number in range(9))
        members = (*invented, Member("victim", home.identity().public_key))
        agreement, certificate = Agreement("isles", coordinator.public_key, members), Path("tests/client/authority.pem")
        file = root / "federation.toml"
        Invitation.sign(coordinator, agreement, superlink="127.0.0.1:9092", certificate=certificate.read_text()).write(
            file
        )
        try:
            pin(home, file, Policy())
            yield "an agreement with nine invented members: accepted; sum minus nine known vectors is the victim's"
        except UserError as error:
            yield str(error)


@attack
def co_signatures() -> Iterator[str]:
    """4: labels sign random numbers, and anybody signs for a label."""
    for name in ("_task_id", "_run_id", "_node_id"):
        setattr(TaskIdentity, name, 1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        catalogues = [root / "catalogues" / f"label-{number}" for number in range(1, 6)]
        for catalogue in catalogues:
            catalogue.mkdir(parents=True)
        experiment = Experiment(root / "catalogues", Scheme.parse("as-is"))
        federation = Federation.create(root / "homes", catalogues, root / "cache", experiment)
        data = Prepared(a_dataset(60, seed=1), a_dataset(15, seed=2))
        config, labels = a_config(), [Label(home) for home in federation.homes]
        with patch.object(trainer, "prepare", lambda *_: data):
            outcome = train(LocalGrid(labels), federation.agreement, config)
        promises = [(promise.epsilon, promise.delta) for promise in outcome.history.promises]
        provenance = Provenance(
            config,
            default_spec(),
            federation.agreement,
            outcome.run,
            config.rounds,
            promises,
            start="none",
            seeded=False,
        )
        invented = RANDOM.normal(size=outcome.parameters.size).astype(np.float32)
        release = root / "release"
        write(release, provenance, invented, federation.coordinator, name="isles")
        request = CosignRequest(outcome.run, (release / MANIFEST_FILE).read_bytes(), (1, 2))
        signed = 0
        for label in labels:
            try:
                label.cosign(request.to_bytes())
                signed += 1
            except ProtocolError:
                pass
        yield f"random numbers as the run's weights: co-signed by {signed} of {len(labels)} labels"
        key = federation.coordinator.public_key
        cosign(release, Identity.generate(), label="label-1", trusted_key=key)
        names = ", ".join(each.name for each in check(release, key).signatures[1:])
        yield f"a stranger's key: listed as that of {names}"


@attack
def liars() -> Iterator[str]:
    """5: one label of 50 in one round; one wrong share."""
    layout = VectorLayout(parameters=3000, counters=0, ring_bits=32, participants=50, update_clip=1.0)
    wanted = RANDOM.normal(size=3000)
    wanted /= np.linalg.norm(wanted)
    total = layout.ring.zeros(layout.elements)
    for _ in range(49):
        honest = RANDOM.normal(size=3000).astype(np.float32)
        total += layout.encode(honest / np.linalg.norm(honest), np.empty(0, np.int64))
    half = layout.quantiser.top // 2
    lie = layout.encode(np.zeros(3000, np.float32), np.empty(0, np.int64))
    lie[:-1] = half + (wanted / np.abs(wanted).max() * 40 * half).astype(np.int64)
    total += lie
    mean = layout.decode(total, 50).update
    yield f"one liar among 50: cosine {mean @ wanted / np.linalg.norm(mean):.2f} of the mean with what it wants"
    table = InMemoryRounds(4)
    table.join()
    request = table.request(1, 8)
    table.report(request, {label: np.zeros(8, np.uint32) for label in table.participants})
    liar, unmask = table.participants["label-000"], table.participants["label-000"].unmask

    def lying(message: object) -> object:
        shares = unmask(message)
        return type(shares).sign(
            liar._identity, **{**vars_of(shares), "values": bytes([shares.values[0] ^ 1]) + shares.values[1:]}
        )

    liar.unmask = lying  # type: ignore[method-assign]
    try:
        yield f"one wrong share: a sum of {table.unmask().survivors} labels, without a word"
    except Exception as error:
        yield f"one wrong share: {error} (no label is named: {'label-' not in str(error)})"


def vars_of(shares: object) -> dict[str, object]:
    return {name: getattr(shares, name) for name in ("run", "round", "survivors_digest", "label", "values")}


@attack
def survivors_and_insiders() -> Iterator[str]:
    """6: a curious label knows its own noise; sums are smaller than agreed."""
    members = tuple(Member(f"label-{number}", Identity.generate().public_key) for number in range(3))
    Agreement("isles", bytes(32), members, noise=Trust.DISTRIBUTED, min_honest=3)
    multiplier = 1.0
    while epsilon([Gaussian(multiplier, 60)], 1e-5) > 7.96:
        multiplier *= 1.005
    known, others = (epsilon([Gaussian(multiplier * math.sqrt(share), 60)], 1e-5) for share in (1, 2 / 3))
    yield f"three labels, min_honest = 3: accepted; claimed ε = {known:.2f}, against a fellow label {others:.2f}"
    yield f"n_min = 10: rounds end with a sum over {threshold(10)}"


@attack
def ground_committees() -> Iterator[str]:
    """7: the last to advertise picks among committees as long as it likes."""
    names = tuple(f"label-{number:03}" for number in range(120))
    corrupt, begun, most, draws = set(names[:39]), time.process_time(), 0, 3000
    for number in range(draws):
        holders = Topology(names, hashlib.sha256(number.to_bytes(8)).digest()).holders
        most = max(most, len(corrupt.intersection(holders)))
    rate = draws / (time.process_time() - begun)
    yield (
        f"120 labels: {rate:,.0f} draws a second in Python, nobody sees how many; {most} colluding holders of "
        f"{COMMITTEE} in {draws}, where {39 * COMMITTEE / 120:.0f} are expected"
    )


@attack
def ledger_locks() -> Iterator[str]:
    """9: three announced runs of many tiny steps."""
    with tempfile.TemporaryDirectory() as folder, Ledger.create(Path(folder) / "ledger.sqlite") as ledger:
        base = PrivacyPlan(
            unit=Unit.TRACK, trust=Trust.LOCAL, base_rate=0.01, sample_rate=0.01, noise_multiplier=11.7,
            max_grad_norm=1.0, steps=300_000, histogram_noise=None, epsilon=2.0, delta=1e-5, epsilon_ceiling=2.0,
        )  # fmt: skip
        try:
            for run, noise in enumerate((11.7, 11.8, 11.9)):
                ceilings = Ceilings(epsilon_per_run=8.0, epsilon_lifetime=12.0, delta=1e-5)
                ledger.open_run(bytes([run]) * 16, replace(base, noise_multiplier=noise), ceilings)
            yield "three announced runs of tiny steps: the ledger opens"
        except UserError as error:
            yield f"three announced runs of tiny steps: {error}"


@attack
def numbers_and_keys() -> Iterator[str]:
    """9: entries beyond int64, a key with bit 255 set, and the refusal by number of tracks."""
    wild = _rounded(np.full((1, 4), 1e30, np.float32), 30, Randomness.for_simulation(1))
    yield f"entries beyond int64 leave a norm of {np.linalg.norm(wild.astype(float)):.3g}, where 5.5 is the bound"
    pair, other = RunKey.generate(), RunKey.generate()
    twin = other.public[:-1] + bytes([other.public[-1] ^ 0x80])
    yield f"a key with bit 255 set gives the same secret: {pair.agree(twin) == pair.agree(other.public)}"
    members = tuple(Member(f"label-{number}", Identity.generate().public_key) for number in range(3))
    said = []
    for number in (9, 10):
        try:
            config = a_config(batch_size=5)
            data = Prepared(a_dataset(number, seed=1), None)
            local_round.plan_of(config, data, Agreement("isles", bytes(32), members), Policy())
            said.append("accepted")
        except CatalogueError:
            said.append("refused")
    yield f"9 tracks of the run's styles: {said[0]}, 10: {said[1]}"


if __name__ == "__main__":
    logging.disable()
    for each in ATTACKS:
        for line in each():
            print(f"{each.__doc__.split(':')[0]}  {line}", flush=True)
