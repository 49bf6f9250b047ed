"""The federation of the simulation: one coordinator, its labels, and the real code of all of them."""

import os
import tempfile
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256, shake_128
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tomli_w
from flwr.supercore.task_identity import TaskIdentity
from tenacity import wait as wait_module
from tests.simulation import disk as disks
from tests.simulation import ledgers
from tests.simulation.answers import Answers
from tests.simulation.disk import ROOT, Disk, File, Folder
from tests.simulation.processes import Processes, lock_class

from sottovoce.errors import SottovoceError
from sottovoce.federation import log as log_module
from sottovoce.federation.enrolment import Enrolment
from sottovoce.federation.identity import Identity
from sottovoce.federation.invitation import Invitation
from sottovoce.files import clear_asides
from sottovoce.protocol import keys as keys_module
from sottovoce.protocol import label_setup
from sottovoce.protocol.aggregator import Aggregator, Sum
from sottovoce.protocol.keys import RunKey
from sottovoce.protocol.message import CIPHERTEXT_BYTES
from sottovoce.protocol.messages import Report
from sottovoce.protocol.participant import Participant
from sottovoce.protocol.ring import Ring
from sottovoce.release import write as write_module
from sottovoce.run import metrics as metrics_module
from sottovoce.run.configuration import RunConfiguration, Trust
from sottovoce_client.budget import ledger as ledger_module
from sottovoce_client.data.declaration import Suggestion, declare
from sottovoce_client.home import diary as diary_module
from sottovoce_client.home.confirmations import confirm
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.node_key import NodeKey
from sottovoce_client.rounds import local_round, opened_home, promises, trainer
from sottovoce_client.rounds import run_state as run_state_module
from sottovoce_client.rounds.label import Label
from sottovoce_client.rounds.local_round import LEAST_UNITS
from sottovoce_client.rounds.opened_home import OpenedHome
from sottovoce_client.training.distributed_noise import add_noise
from sottovoce_server.flower import (
    cosignature_requests,
    deployed_coordinator,
    joining,
    masked_rounds,
    polling_grid,
    resuming,
)
from sottovoce_server.home import journal as journal_module
from sottovoce_server.home import log_file as log_file_module
from sottovoce_server.home import runs as runs_module
from sottovoce_server.home.coordinator_home import ServerHome
from sottovoce_server.rounds import submission

COORDINATOR = "coordinator"
LABELS = tuple(f"label-{number}" for number in range(1, 5))
"""Four labels: a sum needs three."""
NAME = "simulated"
CLASSES = "blues,techno"


@dataclass
class Stage:
    """What the patched product sees at the moment: one schedule after another."""

    processes: Processes = field(default_factory=Processes)
    disk: Disk = field(init=False)
    frozen: dict[bytes, Folder] = field(default_factory=dict)
    answers: Answers = field(default_factory=Answers)
    witness: Any = None
    flower: Any = None
    """Flower's runs, which stand for the SuperLink's control port."""
    warnings: list[str] = field(default_factory=list)
    """What a starting server warns of."""
    earlier: tuple[int, ...] | None = None
    """Earlier rounds whose sums the latest local update contains; None: its run correlates no noise."""

    def __post_init__(self) -> None:
        self.disk = Disk(self.processes)

    def effect(self, what: str) -> str | None:
        return self.processes.effect(what)


def create_federation(folder: Path, *, runs: float = 1.0) -> tuple[float, float]:
    """Make the homes of a coordinator and its labels on the real disk.

    Args:
        folder: an empty folder.
        runs: how many times the ε of a run a label may spend in its lifetime.

    Returns:
        A label's lifetime ε, and its δ.
    """
    from sottovoce_simulations.engine.experiment import Experiment
    from sottovoce_simulations.engine.local_federation import Federation
    from sottovoce_simulations.engine.partition import Scheme

    for name in LABELS:
        (folder / "catalogues" / name).mkdir(parents=True)
    experiment = Experiment(folder / "catalogues", Scheme.parse("as-is"))
    catalogues = [folder / "catalogues" / name for name in LABELS]
    made = Federation.create(folder / "labels", catalogues, folder / "cache", experiment)
    server = ServerHome.create(folder / COORDINATOR, federation=NAME, address="localhost:9092")
    for home in made.homes:
        declare(home, Suggestion(LEAST_UNITS, LEAST_UNITS))
        policy = tomllib.loads(home.policy_file.read_text())
        rules = {"epsilon_lifetime": runs * experiment.epsilon, "cosign": True, "trust": list(Trust)}
        home.write_policy(tomli_w.dumps({**policy, **rules}))
        identity = Identity.load(home.identity_file)
        server.enrol(
            Enrolment.sign(identity, name=home.name, node_key=NodeKey.load(home.node_key_file).public, federation=NAME)
        )
    agreement = server.sign().agreement
    for home in made.homes:
        home.confirmations_file.unlink()
        agreement.write(home.agreement_file)
        others = [member for member in agreement.members if member.name != home.name]
        confirm(home, Identity.load(home.identity_file), NAME, others)
    return runs * experiment.epsilon, experiment.delta


def _update_in(stage: Stage) -> Callable[..., np.ndarray]:
    """A local update in closed form: every training is the same step towards the label's own point."""

    def update(state: Any, run: bytes, inputs: Any) -> np.ndarray:
        stage.earlier = None
        if mechanism := state.plan.mechanism:
            total = np.arange(mechanism.dimension, dtype=np.int64) % 100 * (1 + inputs.number)
            state.remember(inputs.number, total)
            if state.keeps_sums:
                stage.earlier = tuple(number for number in state.sums if number < inputs.number)
            return add_noise(state.last_sums(inputs.number), state.plan, inputs.randomness)
        size = int(_trainable(inputs.config))
        return np.linspace(-1e-3, 1e-3, size, dtype=np.float32) * (1 + inputs.number)

    return update


@cache
def _trainable(config: Any) -> int:
    from sottovoce.models.trainable import trainable_mask

    return int(trainable_mask(config).sum())


def _random_in(processes: Callable[[], Processes]) -> Callable[[int], bytes]:
    """`os.urandom` for the simulation's threads; others, which tests before it may have left, draw from the system."""
    real = os.urandom
    return lambda size: processes().random(size) if threading.get_ident() in processes().threads else real(size)


def _run_key(kind: type[RunKey]) -> RunKey:
    """`RunKey.generate`, from simulated randomness."""
    return kind.from_bytes(os.urandom(96))


def _encapsulate(encapsulation_key: bytes) -> tuple[bytes, bytes]:
    """A stand-in for ML-KEM, whose own randomness cannot be seeded: an altered ciphertext yields another secret."""
    keys_module.check_encapsulation_key(encapsulation_key)
    ciphertext = shake_128(os.urandom(32)).digest(CIPHERTEXT_BYTES)
    return sha256(encapsulation_key + ciphertext).digest(), ciphertext


def _opened(key: RunKey, ciphertext: bytes) -> bytes:
    return sha256(key.encapsulation + ciphertext).digest()


def _watched(real: Callable[..., bytes], stage: Stage) -> Callable[..., bytes]:
    """A label's method whose unforeseen exceptions the witness hears of; Flower's app hides them."""

    def watched(label: Label, *arguments: Any) -> bytes:
        try:
            return real(label, *arguments)
        except (SottovoceError, OSError):
            raise
        except Exception as error:
            stage.witness.bug(f"{label.home.name}: {type(error).__name__}: {error}")
            raise

    return watched


def _remember(patch: pytest.MonkeyPatch, stage: Stage) -> None:
    """Read what no schedule changes once for each content: keys, agreement, policy and confirmations."""
    opened: dict[tuple[bytes, ...], OpenedHome] = {}
    invitations: dict[bytes, Invitation] = {}
    of, read = OpenedHome.of, Invitation.read

    def opened_of(home: LabelHome) -> OpenedHome:
        files = (home.identity_file, home.agreement_file, home.policy_file, home.confirmations_file)
        key = tuple(_content(stage.disk, file) for file in (home.root / "home.json", *files))
        if key not in opened:
            opened[key] = of(home)
        clear_asides(home.runs)
        return opened[key]

    def invitation_of(path: Path) -> Invitation:
        key = _content(stage.disk, path)
        if key not in invitations:
            invitations[key] = read(path)
        return invitations[key]

    configurations = cache(RunConfiguration.from_bytes)
    patch.setattr(RunConfiguration, "from_bytes", lambda data: configurations(bytes(data)))
    patch.setattr(RunConfiguration, "to_bytes", cache(RunConfiguration.to_bytes))
    patch.setattr(write_module, "version", cache(write_module.version))
    patch.setattr(metrics_module, "noisy_macro_f1", lambda *counts, **options: (0.0, 0.0))
    patch.setattr(OpenedHome, "of", opened_of)
    patch.setattr(Invitation, "read", invitation_of)


def _content(disk: Disk, path: Path) -> bytes:
    node = disk.find(str(path))
    return str(path).encode() + (node.data if isinstance(node, File) else b"")


@contextmanager
def laid_under() -> Iterator[Stage]:
    """Lay clock, disk, processes and SQLite of the simulation under the product."""
    stage = Stage()
    processes = lambda: stage.processes  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        disks.mount(patch, lambda: stage.disk)
        ledgers.mount(patch, ledger_module, lambda: stage.disk, stage.effect)
        patch.setattr(os, "urandom", _random_in(processes))
        patch.setattr(tempfile, "_get_candidate_names", lambda: iter(lambda: os.urandom(4).hex(), ""))
        uniform = lambda low, high: low + (high - low) * int.from_bytes(os.urandom(4)) / 2**32  # noqa: E731
        patch.setattr(wait_module, "random", SimpleNamespace(uniform=uniform))
        patch.setattr(RunKey, "generate", classmethod(_run_key))
        patch.setattr(RunKey, "open", _opened)
        for module in (keys_module, label_setup):
            patch.setattr(module, "encapsulate", _encapsulate)
        patch.setattr(os, "getpid", lambda real=os.getpid: processes().number() if processes().running else real())
        patch.setattr(
            os,
            "kill",
            lambda number, signal, real=os.kill: (
                processes().kill(number, signal) if number >= 1 << 23 else real(number, signal)
            ),
        )
        clock = SimpleNamespace(
            monotonic=lambda: stage.processes.clock.monotonic(),
            perf_counter=lambda: stage.processes.clock.monotonic(),
            time=lambda: stage.processes.clock.time(),
            sleep=lambda seconds: stage.processes.clock.sleep(seconds),
        )
        coordinator = joining, masked_rounds, deployed_coordinator, cosignature_requests, polling_grid
        for module in (*coordinator, opened_home, trainer):
            patch.setattr(module, "time", clock)
        dates = SimpleNamespace(now=lambda zone=None: stage.processes.clock.datetime(zone))
        for module in (journal_module, diary_module, ledger_module, write_module):
            patch.setattr(module, "datetime", dates)

        lock = lock_class(stage)
        for module in (
            journal_module,
            diary_module,
            log_module,
            log_file_module,
            runs_module,
            run_state_module,
            promises,
        ):
            patch.setattr(module, "FileLock", lock)
        _remember(patch, stage)
        patch.setattr(trainer, "prepare", lambda home, config: SimpleNamespace(train=range(9), holdout=None))
        patch.setattr(local_round, "update_of", _update_in(stage))
        report, finish = Participant.report, Aggregator.finish

        def reported(participant: Participant, vector: np.ndarray) -> Report:
            plain = vector.copy()
            made = report(participant, vector)
            stage.witness.masked(made.run.hex(), made.round, made.label, plain, stage.earlier)
            stage.earlier = None
            return made

        def finished(aggregator: Aggregator) -> Sum:
            total = finish(aggregator)
            stage.witness.finished(aggregator.announcement.run.hex(), total, Ring(aggregator.config.ring_bits))
            return total

        for name in ("answer", "cosign"):
            patch.setattr(Label, name, _watched(getattr(Label, name), stage))
        patch.setattr(Participant, "report", reported)
        patch.setattr(Aggregator, "finish", finished)
        patch.setattr(resuming, "connected", lambda home: nullcontext(stage.flower))
        patch.setattr(
            resuming, "LOG", SimpleNamespace(warning=lambda text, *values: stage.warnings.append(text % values))
        )
        patch.setattr(submission, "build_bundle", lambda: (b"", ""))
        patch.setenv("SOTTOVOCE_SERVER_HOME", f"{ROOT}/{COORDINATOR}")
        for name in ("_task_id", "_run_id", "_node_id"):
            patch.setattr(TaskIdentity, name, 1)
        yield stage
