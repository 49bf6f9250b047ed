"""The two locks of the launcher, each by itself. With a real SuperLink: tests/deploy/test_foreign_code.py."""

import hashlib
import importlib
import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.supercore.fab import Fab
from flwr.supercore.run import Run
from flwr.supernode.start_client_internal import _verify_fab

from sottovoce.errors import ConfigurationError
from sottovoce_client import launcher
from sottovoce_client.bundle import BundleRefused


@pytest.fixture
def content(a_bundle):
    return a_bundle()


def a_run(content: bytes, **changes) -> Run:
    run = Run.create_empty(1)
    values = {
        "fab_id": "sottovoce/sottovoce",
        "fab_version": "0.1.0",
        "fab_hash": hashlib.sha256(content).hexdigest(),
        "primary_task_type": "flwr-serverapp",
    }
    for name, value in {**values, **changes}.items():
        setattr(run, name, value)
    return run


def trusted(guard: Ed25519PrivateKey) -> dict[str, str]:
    line = guard.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return {launcher.GUARD: line}


def test_flower_trusts_a_bundle_that_we_vouch_for(content):
    guard = Ed25519PrivateKey.generate()
    fab = Fab(hashlib.sha256(content).hexdigest(), content, {})
    vouched = launcher.vouched(fab, a_run(content), guard)
    assert vouched.verifications["valid_license"]
    assert _verify_fab(vouched, trusted(guard))
    assert not _verify_fab(vouched, trusted(Ed25519PrivateKey.generate()))
    assert not _verify_fab(Fab(fab.hash_str, content + b"x", vouched.verifications), trusted(guard))


@pytest.mark.parametrize(
    "changes",
    [
        {"fab_id": "../../home/me"},
        {"fab_version": "9"},
        {"fab_hash": "00" * 32},
        {"primary_task_type": "flwr-agentapp"},
        {"primary_task_type": "flwr-simulation"},
    ],
)
def test_a_run_of_another_app_than_its_bundle_is_not_vouched_for(content, changes):
    fab = Fab(hashlib.sha256(content).hexdigest(), content, {"valid_license": "yes"})
    assert launcher.vouched(fab, a_run(content, **changes), Ed25519PrivateKey.generate()).verifications == {}
    assert launcher.vouched(fab, None, Ed25519PrivateKey.generate()).verifications == {}


def test_what_the_superlink_says_of_a_bundle_counts_for_nothing(content):
    guard = Ed25519PrivateKey.generate()
    fab = Fab("00" * 32, content, {"valid_license": "yes", launcher.GUARD: json.dumps({"signed_at": 0})})
    assert launcher.vouched(fab, a_run(content), guard).verifications == {}


def test_every_bundle_passes_the_guard(content):
    """`_guarded` stands between Flower's connection and whoever uses it."""
    from contextlib import contextmanager

    guard = Ed25519PrivateKey.generate()
    fab = Fab(hashlib.sha256(content).hexdigest(), content, {})

    @contextmanager
    def connect(*arguments, **named):
        yield 1, "receive", "send", lambda number: a_run(content), lambda digest, number: fab, "pull", "push", "confirm"

    with launcher._guarded(connect, guard) as (node, receive, send, get_run, get_fab, *rest):
        assert (node, receive, send, rest) == (1, "receive", "send", ["pull", "push", "confirm"])
        assert get_fab(fab.hash_str, 1).verifications == {}  # of a run that nobody has looked at
        get_run(1)
        assert _verify_fab(get_fab(fab.hash_str, 1), trusted(guard))


def test_a_process_that_answers_unpacks_and_installs_nothing(content, monkeypatch, tmp_path):
    from flwr.supernode.runtime import run_clientapp as runtime

    from sottovoce_client.deploy import app

    for name in ("install_from_fab", "install_app_dependencies", "get_load_client_app_fn"):
        monkeypatch.setattr(runtime, name, getattr(runtime, name))
    called = []
    command = importlib.import_module("flwr.supernode.cli.flwr_clientapp")  # the package has a function of this name
    monkeypatch.setattr(command, "flwr_clientapp", lambda: called.append(True))
    monkeypatch.setattr("sys.argv", ["x"])
    monkeypatch.setenv("FLWR_HOME", str(tmp_path))
    launcher._answer("--token", "x")
    assert called
    runtime.install_from_fab(content, skip_prompt=True)
    with pytest.raises(BundleRefused):
        runtime.install_from_fab(b"PK", skip_prompt=True)
    with pytest.raises(ConfigurationError):
        runtime.install_app_dependencies(tmp_path, launch_id="x")
    load = runtime.get_load_client_app_fn(default_app_ref="", app_path=None, multi_app=True)
    assert load("evil/evil", "1", "00") is app
    assert list(tmp_path.iterdir()) == []


def test_a_flower_without_what_we_replace_is_refused():
    with pytest.raises(ConfigurationError, match="cannot be kept safe"):
        launcher._replace(launcher, "install_from_fab", lambda found: found)


def test_a_joined_label_finds_only_our_own_scripts(label_home):
    environment = launcher.environment(label_home, "127.0.0.1:9092", label_home.certificate_file)
    scripts, *system = environment["PATH"].split(os.pathsep)
    assert sorted(file.name for file in Path(scripts).iterdir()) == ["flwr-clientapp"]
    assert system == os.defpath.split(os.pathsep)
    assert environment["FLWR_TELEMETRY_ENABLED"] == "0"
    assert Path(environment["FLWR_HOME"]).is_relative_to(label_home.root)
    assert launcher.command()[1:3] == ["-P", "-m"]
