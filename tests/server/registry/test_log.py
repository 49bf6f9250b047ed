"""The coordinator's log goes with its releases through the registry, and whoever has seen it is shown no other one."""

import hashlib
import json
import shutil
from itertools import count

import httpx
import pytest
from typer.testing import CliRunner

from sottovoce.cli import app
from sottovoce.errors import ReleaseError, SplitView
from sottovoce.federation.log import Evidence, Log, LogMemory, agreement_entry, release_entry
from sottovoce.release.manifest import LOG_FILE
from sottovoce.release.pull import pull
from sottovoce.release.registry_client import RegistryClient
from sottovoce.release.versions import Reference

NAME = "isles-style-svm"
LATER = "20260101T010000Z"


def entry_of(folder):
    return release_entry(hashlib.sha256((folder / "manifest.json").read_bytes()).digest())


@pytest.fixture
def logged(coordinator, tmp_path):
    """A copy of a release with evidence that it is in a log."""
    numbers = count()

    def make(folder, log):
        copy = shutil.copytree(folder, tmp_path / f"logged{next(numbers)}")
        log.append(entry_of(folder), coordinator).write(copy / LOG_FILE)
        return copy

    return make


@pytest.fixture
def service(make_registry, settings):
    return make_registry(settings)


@pytest.fixture
def published(service, publisher):
    """Nothing yet: the tests publish for themselves."""
    return service


@pytest.fixture
def client(wire):
    with RegistryClient("http://registry.example", transport=wire) as made:
        yield made


@pytest.fixture
def fetch(client, coordinator, seen, memory, tmp_path):
    def run(wanted=NAME, name="model", *, memory=memory):
        return pull(client, Reference.parse(wanted), coordinator.public_key, tmp_path / name, seen=seen, memory=memory)

    return run


def of_model(request):
    return request.url.path.endswith("model.safetensors")


def test_evidence_is_published_and_pulled_with_the_release(
    service, publisher, make_release, logged, fetch, coordinator, memory, tmp_path
):
    log = Log()
    log.append(agreement_entry(bytes(32), bytes(32)), coordinator)
    first, second = logged(make_release(), log), logged(make_release(1), log)
    assert service.publish(publisher, first).status_code == 201
    service.show(publisher, "public")
    pulled = fetch()
    assert "size 2" in pulled.logged
    assert (tmp_path / "model" / LOG_FILE).read_bytes() == (first / LOG_FILE).read_bytes()
    assert service.publish(publisher, second, of=LATER).status_code == 201
    assert "size 3" in fetch().logged
    assert memory.newest(coordinator.public_key).head.size == 3
    assert "size 2" in fetch(f"{NAME}@20260101T000000Z", "older").logged  # of an older state of the same log
    again = fetch()
    assert again.already
    assert again.logged


def test_a_registry_that_hands_out_another_history_is_found_out_before_any_content_comes(
    service, publisher, wire, make_release, logged, fetch, coordinator, tmp_path
):
    ours, theirs = Log(), Log()
    theirs.append(release_entry(bytes(32)), coordinator)
    service.publish(publisher, logged(make_release(), ours))
    service.show(publisher, "public")
    fetch()
    newer = make_release(1)
    service.publish(publisher, logged(newer, ours), of=LATER)
    forged = theirs.append(entry_of(newer), coordinator).to_bytes()
    wire.spoil = lambda request, answer: (
        httpx.Response(200, content=forged) if request.url.path.endswith(LOG_FILE) else answer
    )
    wire.requests.clear()
    with pytest.raises(SplitView, match="signed two histories"):
        fetch(name="elsewhere")
    assert not any(map(of_model, wire.requests))
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("change", ["other release", "nothing", "rubbish"])
def test_evidence_that_shows_nothing_is_refused(
    service, publisher, wire, make_release, logged, fetch, coordinator, tmp_path, change
):
    log = Log()
    service.publish(publisher, logged(make_release(), log))
    service.show(publisher, "public")
    fetch()
    service.publish(publisher, logged(make_release(1), log), of=LATER)
    other = log.append(release_entry(bytes(32)), coordinator).to_bytes()
    answers = {
        "other release": httpx.Response(200, content=other),
        "nothing": httpx.Response(404, json={"detail": "no such file"}),
        "rubbish": httpx.Response(200, content=b"{}"),
    }
    wire.spoil = lambda request, answer: answers[change] if request.url.path.endswith(LOG_FILE) else answer
    with pytest.raises(ReleaseError, match=r"in the log|coordinator's log|log's evidence"):
        fetch(name="elsewhere")
    assert not (tmp_path / "elsewhere").exists()


def test_the_registry_takes_no_second_history_and_no_release_without_evidence(
    service, publisher, make_release, logged, coordinator
):
    """The registry is where two consumers who never meet are shown one history."""
    log, other = Log(), Log()
    assert service.publish(publisher, logged(make_release(), log)).status_code == 201
    other.append(release_entry(bytes(32)), coordinator)
    newer = make_release(1)
    refused = service.publish(publisher, logged(newer, other), of=LATER)
    assert refused.status_code == 422
    assert "signed two histories" in refused.json()["detail"]
    refused = service.publish(publisher, newer, of=LATER)
    assert refused.status_code == 422
    assert "There is no proof that the release is in its coordinator's log" in refused.json()["detail"]
    assert service.publish(publisher, logged(newer, log), of=LATER).status_code == 201


def test_a_release_of_a_coordinator_without_a_log_goes_through_as_before(service, publisher, release, fetch, tmp_path):
    service.publish(publisher, release)
    service.show(publisher, "public")
    assert fetch().logged is None
    assert not (tmp_path / "model" / LOG_FILE).exists()


def test_the_evidence_of_a_release_verifies_where_it_was_pulled_to(
    service, publisher, make_release, logged, fetch, coordinator, monkeypatch, tmp_path
):
    """`release verify` finds `log.json` in the folder, and says so."""
    monkeypatch.setattr("sottovoce.release.logged.default_memory", lambda: LogMemory(tmp_path / "mine.json"))
    service.publish(publisher, logged(make_release(), Log()))
    service.show(publisher, "public")
    fetch()
    arguments = ["release", "verify", str(tmp_path / "model"), "--key", coordinator.public_key.hex(), "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    said = json.loads(done.stdout)["checks"]
    assert "The folder holds the 4 files of a release, the evidence of a log and nothing else." in said
    assert any(line.startswith("It is in the coordinator's log (size 1)") for line in said)
    Evidence.read(tmp_path / "model" / LOG_FILE).expect(entry_of(tmp_path / "model"), coordinator.public_key)
    (tmp_path / "model" / LOG_FILE).unlink()
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "There is no proof" in json.loads(done.stdout)["error"]
