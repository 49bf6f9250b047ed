"""The two locks of the launcher, each by itself. With a real SuperLink: tests/deploy/test_foreign_code.py."""

import hashlib
import importlib
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.supercore.constant import TaskType
from flwr.supercore.fab import Fab
from flwr.supercore.run import Run
from flwr.supercore.superexec.executor.types import ExecutionSpec, LaunchResultStatus
from flwr.supernode.start_client_internal import _verify_fab

from sottovoce.errors import ConfigurationError
from sottovoce_client.flower import supernode
from sottovoce_client.flower.bundle_check import BundleRefused


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
    return {supernode.GUARD: line}


def test_flower_trusts_a_bundle_that_we_vouch_for(content):
    guard = Ed25519PrivateKey.generate()
    fab = Fab(hashlib.sha256(content).hexdigest(), content, {})
    vouched = supernode.vouched(fab, a_run(content), guard)
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
    assert supernode.vouched(fab, a_run(content, **changes), Ed25519PrivateKey.generate()).verifications == {}
    assert supernode.vouched(fab, None, Ed25519PrivateKey.generate()).verifications == {}


def test_what_the_superlink_says_of_a_bundle_counts_for_nothing(content):
    guard = Ed25519PrivateKey.generate()
    fab = Fab("00" * 32, content, {"valid_license": "yes", supernode.GUARD: json.dumps({"signed_at": 0})})
    assert supernode.vouched(fab, a_run(content), guard).verifications == {}


def test_every_bundle_passes_the_guard(content):
    """`_guarded` sits between Flower's connection and its users."""
    from contextlib import contextmanager

    guard = Ed25519PrivateKey.generate()
    fab = Fab(hashlib.sha256(content).hexdigest(), content, {})

    @contextmanager
    def connect(*arguments, **named):
        yield (
            1,
            lambda: "received",
            "send",
            lambda number: a_run(content),
            lambda digest, number: fab,
            "pull",
            "push",
            "confirm",
        )

    with supernode._guarded(connect, guard) as (node, receive, send, get_run, get_fab, *rest):
        assert (node, receive(), send, rest) == (1, "received", "send", ["pull", "push", "confirm"])
        assert get_fab(fab.hash_str, 1).verifications == {}  # of a run that nobody has looked at
        get_run(1)
        assert _verify_fab(get_fab(fab.hash_str, 1), trusted(guard))


def test_a_process_that_answers_unpacks_and_installs_nothing(content, monkeypatch, tmp_path):
    from flwr.supernode.runtime import run_clientapp as runtime

    from sottovoce_client.flower.deployed_label import app

    for name in ("install_from_fab", "install_app_dependencies", "get_load_client_app_fn"):
        monkeypatch.setattr(runtime, name, getattr(runtime, name))
    called = []
    command = importlib.import_module("flwr.supernode.cli.flwr_clientapp")  # the package has a function of this name
    monkeypatch.setattr(command, "flwr_clientapp", lambda: called.append(True))
    monkeypatch.setattr("sys.argv", ["x"])
    monkeypatch.setenv("FLWR_HOME", str(tmp_path))
    supernode._answer("--token", "x")
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
    with pytest.raises(ConfigurationError, match="cannot be protected"):
        supernode._replace(supernode, "install_from_fab", lambda found: found)


def test_a_joined_label_finds_nothing_of_flowers_by_name(label_home):
    environment = supernode.environment(label_home, "127.0.0.1:9092", label_home.certificate_file)
    assert environment["PATH"] == os.defpath
    assert environment["FLWR_TELEMETRY_ENABLED"] == "0"
    assert Path(environment["FLWR_HOME"]).is_relative_to(label_home.root)
    assert supernode.command()[1:3] == ["-P", "-m"]


def a_task(kind=TaskType.CLIENT_APP) -> ExecutionSpec:
    return ExecutionSpec(
        task_type=kind,
        runtime_api_address="127.0.0.1:1",
        token="ab" * 16,
        insecure=True,
        root_certificates_path=None,
        runtime_dependency_install=True,
        parent_pid=1,
        suppress_output=False,
        task_id=7,
    )


ECHO = "import os,sys\nfor line in sys.stdin: print(os.getpid(), line, end='', file=open({file!r}, 'a'))"


@pytest.fixture
def warm(monkeypatch, tmp_path, eventually):
    """`Warm` with a process that records what it receives; and the record."""
    file = tmp_path / "handed"
    line = [sys.executable, "-u", "-c", ECHO.format(file=str(file))]
    monkeypatch.setattr(supernode, "_process", lambda *_: line)

    def handed(lines: int) -> list[tuple[int, list[str]]]:
        eventually(lambda: file.exists() and len(file.read_text().splitlines()) >= lines, f"{lines} were handed on")
        found = [each.split(" ", 1) for each in file.read_text().splitlines()]
        return [(int(process), json.loads(arguments)) for process, arguments in found]

    made = supernode.Warm()
    yield made, handed
    made.close()
    assert made._process.wait(600) == 0


def test_each_message_is_handed_to_the_process_that_forks_an_answer(warm):
    executor, handed = warm
    assert executor.launch(a_task()).status == LaunchResultStatus.ACCEPTED
    ((_, arguments),) = handed(1)
    asked = flwr_clientapp_arguments(arguments)
    assert (asked.runtime_api_address, asked.token, asked.insecure) == ("127.0.0.1:1", "ab" * 16, True)
    assert asked.parent_pid == os.getpid()
    assert not asked.runtime_dependency_install


def flwr_clientapp_arguments(arguments: list[str]):
    return (
        importlib.import_module("flwr.supernode.cli.flwr_clientapp")
        ._parse_args_run_flwr_clientapp()
        .parse_args(arguments)
    )


def test_a_process_that_is_gone_is_replaced(warm):
    executor, handed = warm
    executor.launch(a_task())
    ((first, _),) = handed(1)
    executor._process.kill()
    executor._process.wait()
    assert executor.launch(a_task()).status == LaunchResultStatus.ACCEPTED
    assert handed(2)[1][0] != first


def test_a_label_starts_nothing_but_answers(warm):
    executor, _ = warm
    for kind in set(TaskType) - {TaskType.CLIENT_APP}:
        assert executor.launch(a_task(kind)).status == LaunchResultStatus.FAILED


def test_a_message_is_looked_for_soon_while_a_run_is_under_way(monkeypatch):
    now = iter(range(10_000))  # seconds: one passes with each look
    monkeypatch.setattr(supernode, "time", SimpleNamespace(monotonic=lambda: next(now), sleep=lambda _: None))
    found = iter([None, "first", None, None, "second", *[None] * 10_000])
    receive = supernode.attentive(lambda: next(found), seconds=200, glance=0.001)
    assert receive() is None  # nothing is under way: Flower waits as it does
    assert receive() == "first"
    assert receive() == "second"
    assert receive() is None  # after looking for a while


def test_a_supernode_leaves_when_what_answers_messages_has_ended():
    code = "import subprocess, sys, time; from sottovoce_client.flower import supernode; "
    code += "supernode._leave_with(subprocess.Popen([sys.executable, '-c', '']).pid); time.sleep(600)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=500, check=False)
    assert ended.returncode == -signal.SIGTERM


def test_what_starts_answers_is_forked_before_the_home_is_opened(monkeypatch):
    """And before there is another thread, whose locks would be held in the fork for ever."""
    steps = []
    monkeypatch.setattr(supernode, "_fork_superexec", lambda *_: steps.append("forked"))
    monkeypatch.setattr(supernode, "_leave_with", lambda _: steps.append("watched by a thread"))
    monkeypatch.setattr(supernode, "_run_node", lambda *_: steps.append("home opened"))
    monkeypatch.setattr("flwr.supercore.app_utils.start_parent_process_monitor", steps.append)
    supernode._node("1")
    assert steps == ["forked", "watched by a thread", 1, "home opened"]


def test_what_starts_answers_has_the_secret_and_goes_with_the_node(fork):
    def node():
        def superexec(*arguments):
            at = {
                name: arguments[arguments.index(name) + 1]
                for name in arguments
                if name.startswith("--") and name != "--insecure"
            }
            print(Path(at["--superexec-auth-secret-file"]).read_text(), at["--runtime-api-address"])
            print(int(at["--parent-pid"]) == os.getppid())

        supernode._superexec = superexec
        with supernode._in_memory(b"secret") as secret:
            assert os.waitstatus_to_exitcode(os.waitpid(supernode._fork_superexec(1, secret), 0)[1]) == 0
        print("over")

    process = fork(node)
    assert process.wait() == 0
    assert process.stdout.splitlines() == ["secret 127.0.0.1:1", "True", "over"]


def test_the_process_of_a_message_ends_with_its_answer(fork):
    """And does not go on to what the process that it is forked from does at its end."""

    def answer(*arguments):
        print("answered", *arguments)
        sys.exit(0)  # as Flower does

    def warm():
        supernode._answer, supernode.importlib = answer, SimpleNamespace(import_module=lambda name: None)
        sys.stdin = SimpleNamespace(buffer=[b'["--token", "a"]\n', b'["--token", "b"]\n'], fileno=lambda: 0)
        try:
            supernode._warm()
        finally:
            with suppress(ChildProcessError):
                os.wait()  # for all, since their ends are ignored
            print("over")

    process = fork(warm)
    assert process.wait() == 0
    assert sorted(process.stdout.splitlines()) == ["answered --token a", "answered --token b", "over"]
    assert process.stderr == ""
