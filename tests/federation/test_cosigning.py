"""Labels co-sign a release that agrees with their own books, and no other."""

import json
import shutil
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from flwr.app import Message

from sottovoce.features.extract import default_spec
from sottovoce.release.check import check
from sottovoce.release.cosigning import Cosignature, CosignRequest
from sottovoce.release.manifest import MANIFEST_FILE, MODEL_FILE
from sottovoce.release.signatures import Role
from sottovoce.release.write import Provenance, write
from sottovoce.run.records import FRAME, RECORD, Action
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.rounds.label import Label
from sottovoce_server.flower import cosignature_requests
from sottovoce_server.flower.cosignature_requests import INVALID, NO_ANSWER, cosign
from sottovoce_server.flower.deployed_coordinator import _Run
from sottovoce_server.flower.run_app import train

LABELS = tuple(f"label-{number}" for number in range(1, 6))
NODES = {label: node for node, label in enumerate(LABELS, start=1)}


@pytest.fixture(scope="module")
def trained(federation_in, grid_of, config, tmp_path_factory):
    """A federation after its run, and what came of it."""
    federation = federation_in(tmp_path_factory.mktemp("trained"))
    labels = [Label(home) for home in federation.homes]
    return federation, train(grid_of(labels), federation.agreement, config)


@pytest.fixture
def federation(trained, tmp_path):
    """A copy for one test."""
    federation, _ = trained
    homes = (shutil.copytree(home.root, tmp_path / "homes" / home.name) for home in federation.homes)
    return replace(federation, homes=tuple(map(LabelHome.open, homes)))


@pytest.fixture
def outcome(trained):
    return deepcopy(trained[1])


@pytest.fixture
def release(tmp_path, federation, agreement, config, outcome) -> Path:
    provenance = Provenance(
        config, default_spec(), agreement, outcome.run, config.rounds, _promises(outcome), start="none", seeded=False
    )
    write(tmp_path / "release", provenance, outcome.parameters, federation.coordinator, name="isles")
    return tmp_path / "release"


def _promises(outcome):
    return [(promise.epsilon, promise.delta) for promise in outcome.history.promises]


@pytest.fixture
def asked(grid, agreement, outcome, release):
    def ask(**changes):
        told = {"run": outcome.run, "nodes": NODES, "history": outcome.history, **changes}
        cosigned = cosign(grid, release, agreement, **told)
        signatures = check(release, agreement.coordinator_key).signatures
        assert signatures[0].role is Role.COORDINATOR
        assert tuple(each.name for each in signatures[1:]) == cosigned.labels
        assert all(each.public_key == agreement.key_of(each.name) for each in signatures[1:])
        return cosigned

    return ask


def test_every_label_signs_what_agrees_with_its_books(asked):
    assert asked().labels == LABELS
    assert asked().labels == LABELS  # asked again, nobody is listed twice


def test_a_label_whose_policy_forbids_it_does_not_sign(asked, grid):
    home = grid.labels[1].home
    home.policy_file.write_text(home.policy_file.read_text() + "\ncosign = false\n")
    grid.labels[1] = Label(home)
    cosigned = asked()
    assert cosigned.labels == ("label-1", "label-3", "label-4", "label-5")
    assert cosigned.others == {"label-2": "NotCosigning"}


@pytest.mark.parametrize("field", ["agreement", "configuration", "promises"])
def test_nobody_signs_another_story(asked, grid, release, field):
    def tamper(label: str, message: Message) -> None:
        request = CosignRequest.from_bytes(message.content.config_records[RECORD][FRAME])
        manifest = json.loads(request.manifest)
        if field == "promises":
            manifest["privacy"]["promises"][0]["epsilon"] = 1.0
        else:
            manifest[field] = "0" * 64
        changed = CosignRequest(request.run, json.dumps(manifest).encode(), request.rounds)
        message.content.config_records[RECORD][FRAME] = changed.to_bytes()

    before = (release / MANIFEST_FILE).read_bytes()
    grid.tamper = tamper
    cosigned = asked()
    assert cosigned.labels == ()
    assert cosigned.others == dict.fromkeys(LABELS, "OtherAccount")
    assert (release / MANIFEST_FILE).read_bytes() == before


def test_a_label_counted_in_a_round_that_it_never_had_does_not_sign(asked, grid):
    def tamper(label: str, message: Message) -> None:
        request = CosignRequest.from_bytes(message.content.config_records[RECORD][FRAME])
        changed = CosignRequest(request.run, request.manifest, (*request.rounds, 9))
        if label == "label-4":
            message.content.config_records[RECORD][FRAME] = changed.to_bytes()

    grid.tamper = tamper
    assert asked().others == {"label-4": "OtherAccount"}


def test_a_label_that_does_not_answer_is_left_out(asked, grid):
    grid.lose = lambda label, action: label == "label-5" and action == Action.COSIGN
    cosigned = asked(timeout=0)
    assert cosigned.labels == LABELS[:4]
    assert cosigned.others == {"label-5": NO_ANSWER}


def test_a_label_signs_one_release_of_a_run(asked, release, agreement, federation, outcome, config):
    assert asked().labels == LABELS
    provenance = Provenance(
        config, default_spec(), agreement, outcome.run, config.rounds, _promises(outcome), start="none", seeded=False
    )
    write(release, provenance, outcome.parameters, federation.coordinator, name="other", replace=True)
    assert asked().others == dict.fromkeys(LABELS, "OtherAccount")


def test_a_run_that_publishes_again_after_a_crash_keeps_its_release(tmp_path, federation, agreement, config, outcome):
    run = _Run.__new__(_Run)
    run._home = SimpleNamespace(identity=lambda: federation.coordinator)
    run._folder = SimpleNamespace(release=tmp_path / "release")
    run._order = SimpleNamespace(name="isles")
    provenance = Provenance(
        config, default_spec(), agreement, outcome.run, config.rounds, _promises(outcome), start="none", seeded=False
    )
    first = run._written(provenance, outcome)
    before = (tmp_path / "release" / MANIFEST_FILE).read_bytes()
    run._order = SimpleNamespace(name="another")  # whatever a second manifest would differ in
    assert run._written(provenance, outcome) == first
    assert (tmp_path / "release" / MANIFEST_FILE).read_bytes() == before
    (tmp_path / "release" / MODEL_FILE).write_bytes(b"torn")
    assert run._written(provenance, outcome).name == "another"
    check(tmp_path / "release", agreement.coordinator_key)


def test_a_label_that_is_not_connected_is_not_waited_for(asked):
    assert asked(nodes={**NODES, "label-5": 99}, timeout=0).others == {"label-5": NO_ANSWER}


def test_a_label_that_comes_back_signs(asked, grid, monkeypatch):
    # A restarted SuperLink has no node at first, then all but one, which gives no answer the first time it is asked.
    connected = iter([(), (1, 2, 3, 4), (1, 2, 3, 4, 5)])
    monkeypatch.setattr(grid, "get_node_ids", lambda: next(connected, range(1, 6)))
    lost = iter([True])
    grid.lose = lambda label, action: label == "label-5" and next(lost, False)
    monkeypatch.setattr(cosignature_requests, "RETURN_PAUSE", 0)
    cosigned = asked()
    assert (cosigned.labels, cosigned.others) == (LABELS, {})
    asked_for = [label for label, action, _ in grid.seen if action == Action.COSIGN]
    assert asked_for == [*LABELS, "label-5"]  # who has signed is not asked again


@pytest.mark.parametrize("what", ["another's", "bytes", "of another run", "damaged"])
def test_a_signature_that_does_not_hold_is_not_taken(asked, grid, what, monkeypatch):
    answer = Label.cosign

    def cosign_badly(self: Label, frame: bytes) -> bytes:
        honest = answer(self, frame)
        if self.home.name != "label-3":
            return honest
        read = Cosignature.from_bytes(honest)
        return {
            "another's": lambda: answer(grid.labels[0], frame),
            "bytes": lambda: b"{}",
            "of another run": lambda: Cosignature(bytes(16), read.label, read.signature).to_bytes(),
            "damaged": lambda: Cosignature(read.run, read.label, bytes(64)).to_bytes(),
        }[what]()

    monkeypatch.setattr(Label, "cosign", cosign_badly)
    cosigned = asked()
    assert cosigned.labels == tuple(label for label in LABELS if label != "label-3")
    assert cosigned.others == {"label-3": INVALID}
