"""Starts Flower's SuperNode for a label so that no coordinator's code can run. All of it depends on Flower's internals.

Two independent safeguards, either of which suffices (docs/security.md, *No foreign code*):

1. `_guarded` sits between SuperLink and SuperNode. It checks each bundle without unpacking it, and signs one that
    contains only configuration, with a key created at start. Flower's own check of `--trusted-entities` then refuses
    every unsigned bundle before anything of it is stored.
2. We start the processes that answer messages ourselves. They never unpack the bundle, and load the installed app,
    whatever the bundle says.

A version of Flower without the functions replaced here is refused, and so is a bundle if the first safeguard fails.
"""

import base64
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from logging import getLogger
from pathlib import Path
from threading import Thread
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sottovoce.errors import ConfigurationError
from sottovoce_client.flower.bundle_check import BundleRefused, check_bundle
from sottovoce_client.home.label_home import HOME, LabelHome

LOG = getLogger("flwr")  # the SuperNode's own log, where it reports on bundles
SUPERLINK = "SOTTOVOCE_SUPERLINK"
CERTIFICATE = "SOTTOVOCE_CERTIFICATE"
GUARD = "sottovoce-guard"
POLL_SECONDS = "0.5"
"""Interval at which a label's own processes poll for a message, seconds."""
GLANCE = 0.5
"""Interval at which the SuperLink is polled for a message while a run is active, seconds; Flower's default is 3."""
ATTENTIVE = 60.0
"""Time after an answer during which a run counts as active, seconds."""
ALONE = 2.0
"""Time that a node waits before it exits when the process that answers messages has ended, seconds."""
LOOPBACK = "127.0.0.1"
SECRET_BYTES = 32
NODE_MODULES = ("flwr.supernode.cli.flower_supernode", "flwr.supercore.cli.flower_superexec")
"""What the SuperNode's process imports before it forks."""
ANSWER_MODULES = (
    "flwr.supernode.cli.flwr_clientapp",
    "sottovoce_client.flower.deployed_label",
    "sottovoce_client.rounds.trainer",
    # What these import only when they are used, which would be for each message:
    "cryptography.hazmat.backends.openssl",
    "httpcore",
    "platformdirs",
    "torchaudio",
)
"""What the process that answers messages imports before it forks."""


def environment(home: LabelHome, superlink: str, certificate: Path) -> dict[str, str]:
    """Environment of the SuperNode's process: its connection, and only our programs on its path.

    Args:
        home: the label's home.
        superlink: `host:port`.
        certificate: file with the authority's certificate, PEM.
    """
    return {
        **os.environ,
        HOME: str(home.root),
        SUPERLINK: superlink,
        CERTIFICATE: str(certificate),
        "PATH": os.defpath,
        "FLWR_HOME": str(home.flower),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": POLL_SECONDS,
    }


def command() -> list[str]:
    """Command line of the SuperNode's process."""
    return _process("node", str(os.getpid()))


def _process(*what: str) -> list[str]:
    # -P: do not import modules from the current folder.
    return [sys.executable, "-P", "-m", __spec__.name, *what]


def _node(parent: str) -> None:
    """Run the SuperNode until the parent ends. Its key is passed in memory, and stays encrypted on disk."""
    from flwr.supercore.app_utils import start_parent_process_monitor

    # Imported before the fork, so that this happens once.
    for name in NODE_MODULES:
        importlib.import_module(name)
    port = _free_port()
    with _in_memory(os.urandom(SECRET_BYTES)) as secret:
        _leave_with(_fork_superexec(port, secret))
        start_parent_process_monitor(int(parent))
        _run_node(port, secret)


def _run_node(port: int, secret: int) -> None:
    from flwr.supernode import start_client_internal as client
    from flwr.supernode.cli.flower_supernode import flower_supernode

    home = LabelHome.open(Path(os.environ[HOME]))
    guard = Ed25519PrivateKey.generate()
    line = guard.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    _replace(client, "http_request_response", lambda connect: partial(_guarded, connect, guard))
    with (
        _in_memory(home.node_key().openssh()) as key,
        _in_memory(json.dumps({GUARD: line}).encode()) as trusted,
    ):
        sys.argv = [
            "flower-supernode",
            *("--superlink", os.environ[SUPERLINK]),
            *("--root-certificates", os.environ[CERTIFICATE]),
            *("--auth-supernode-private-key", _path(key)),
            *("--trusted-entities", _path(trusted)),
            *("--isolation", "process"),
            *("--superexec-auth-secret-file", _path(secret)),
            *("--host", LOOPBACK),
            *("--port", str(port)),
        ]
        flower_supernode()


def _fork_superexec(port: int, secret: int) -> int:
    """Start Flower's SuperExec, which starts a process per message. A secret keeps other users from taking messages.

    It is forked, since it imports the same as this process, which must not have opened a home or started a thread yet.
    """
    parent = str(os.getpid())
    if not (process := os.fork()):
        _superexec(
            "--insecure",
            *("--runtime-api-address", f"{LOOPBACK}:{port}"),
            *("--superexec-auth-secret-file", _path(secret)),
            *("--parent-pid", parent),
        )
        sys.exit()
    return process


def _leave_with(process: int) -> None:
    """Exit when a child process ends: a SuperNode alone accepts messages that nobody answers."""

    def watch() -> None:
        os.waitpid(process, 0)
        # If the whole label stops, this process gets its own signal; two at the same moment would print a traceback.
        time.sleep(ALONE)
        LOG.warning("The process that answers messages has ended.")
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=watch, daemon=True).start()


def _superexec(*arguments: str) -> None:
    """Run Flower's SuperExec."""
    from flwr.supercore.cli.flower_superexec import flower_superexec

    runtime = importlib.import_module("flwr.supercore.superexec.run_superexec")
    _replace(runtime, "get_executor", lambda _: lambda *_, **__: Warm())
    sys.argv = ["flower-superexec", *arguments]
    flower_superexec()


class Warm:
    """Flower's `Executor`, which here forks a process per message from one that has imported everything.

    Importing Flower and torch takes longer than a masked round. The parent has seen no message, and each message still
    has its own process.
    """

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(_process("warm"), stdin=subprocess.PIPE)  # noqa: S603

    def launch(self, spec: Any) -> Any:
        """Answer the message of an `ExecutionSpec`."""
        from flwr.supercore.constant import TaskType
        from flwr.supercore.superexec.executor.types import LaunchResult

        if spec.task_type != TaskType.CLIENT_APP:
            return LaunchResult.failed("A label only answers messages.")
        asked = {
            "--runtime-api-address": spec.runtime_api_address,
            "--token": spec.token,
            "--parent-pid": str(os.getpid()),
        }
        line = json.dumps(["--insecure", *(word for pair in asked.items() for word in pair)])
        if self._process.poll() is not None:  # for example after running out of memory
            self._start()
        stdin = self._process.stdin
        if stdin is None:
            return LaunchResult.failed()
        stdin.write(f"{line}\n".encode())
        stdin.flush()
        return LaunchResult.accepted()

    def get_eligible_capacity(self, supported_task_types: Any, **_: Any) -> tuple[Any, set[str]]:
        """Unlimited: a SuperNode hands over one message at a time."""
        return supported_task_types, set()

    def wait_for_capacity(self, *_: Any, **__: Any) -> None:
        """Return at once."""

    def reconcile(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Let the process end, which it does at the end of its input."""
        if self._process.stdin is not None:
            self._process.stdin.close()


def _warm() -> None:
    """Import what answers need, then fork a process for each line of arguments."""
    for name in ANSWER_MODULES:
        importlib.import_module(name)
    gc.freeze()  # keep imported modules shared after forking
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # reap forked processes automatically
    for line in sys.stdin.buffer:
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
            with suppress(SystemExit):  # how Flower ends, whatever came of the message
                _answer(*json.loads(line))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)  # taking torch apart, as the interpreter does at its end, takes longer than most answers


def _answer(*arguments: str) -> None:
    """Answer one message with the installed app; the bundle stays packed."""
    from flwr.supernode.cli.flwr_clientapp import flwr_clientapp
    from flwr.supernode.runtime import run_clientapp as runtime

    _replace(runtime, "install_from_fab", lambda _: _unpack_nothing)
    _replace(runtime, "install_app_dependencies", lambda _: _install_nothing)
    _replace(runtime, "get_load_client_app_fn", lambda _: _load_installed)
    sys.argv = ["flwr-clientapp", *arguments]
    flwr_clientapp()


def _unpack_nothing(content: bytes, **_: Any) -> None:
    """Replacement for unpacking: a second check, independent of the first."""
    check_bundle(content)


def _install_nothing(*_: Any, **__: Any) -> None:
    raise ConfigurationError("A label never installs dependencies of a bundle.")


def _load_installed(**_: Any) -> Callable[..., Any]:
    from sottovoce_client.flower.deployed_label import app

    return lambda *_: app


@contextmanager
def _guarded(connect: Callable[..., Any], guard: Ed25519PrivateKey, *arguments: Any, **named: Any) -> Iterator[Any]:
    """Flower's connection to a SuperLink, checking every bundle that passes through."""
    with connect(*arguments, **named) as connection:
        node, receive, send, get_run, get_fab, *rest = connection
        runs: dict[int, Any] = {}

        def run_of(number: int) -> Any:
            runs[number] = get_run(number)
            return runs[number]

        def fab_of(digest: str, number: int) -> Any:
            return vouched(get_fab(digest, number), runs.get(number), guard)

        yield node, attentive(receive), send, run_of, fab_of, *rest


def attentive(receive: Callable[[], Any], *, seconds: float = ATTENTIVE, glance: float = GLANCE) -> Callable[[], Any]:
    """Flower's `receive`, which polls again sooner after a message: a run is active then.

    Args:
        receive: polls for a message once; returns None without one.
        seconds: time to continue polling before returning None.
        glance: interval between polls, seconds.
    """
    under_way = False

    def receiving() -> Any:
        nonlocal under_way
        until = time.monotonic() + (seconds if under_way else 0.0)
        while (found := receive()) is None and time.monotonic() < until:
            time.sleep(glance)
        under_way = found is not None
        return found

    return receiving


def vouched(fab: Any, run: Any, guard: Ed25519PrivateKey) -> Any:
    """The bundle, signed in the form of Flower's trusted entities, or unsigned if it is refused.

    Args:
        fab: `flwr.supercore.fab.Fab` from the SuperLink.
        run: its `flwr.supercore.run.Run`, from which Flower derives paths and process names.
        guard: this process's signing key.
    """
    try:
        bundle = check_bundle(fab.content)
        if run is None or (run.fab_id, run.fab_version, run.fab_hash) != (bundle.app, bundle.version, bundle.digest):
            raise BundleRefused("The run's app differs from its bundle's.")
        if fab.hash_str != bundle.digest:
            raise BundleRefused("It is not the requested bundle.")
        if run.primary_task_type not in ("", "flwr-serverapp"):
            raise BundleRefused("The run demands more of a label than answers to messages.")
    except BundleRefused as error:
        LOG.warning("Refused a bundle without unpacking it: %s", error.message)
        return replace(fab, verifications={})
    signed_at = int(time.time())
    signature = guard.sign(signed_at.to_bytes(8, "big") + bytes.fromhex(bundle.digest))
    record = {"signed_at": signed_at, "signature": base64.urlsafe_b64encode(signature).decode()}
    return replace(fab, verifications={"valid_license": GUARD, GUARD: json.dumps(record)})


def _replace(module: Any, name: str, made: Callable[[Any], Any]) -> None:
    """Replace a function of Flower's with our own wrapper; the function must exist.

    Raises:
        ConfigurationError: it does not exist, so this version of Flower works differently.
    """
    if not hasattr(module, name):
        raise ConfigurationError(
            f"This version of Flower has no {module.__name__}.{name}, so a label cannot be protected.",
            hint="Install the version that Sottovoce requires.",
        )
    setattr(module, name, made(getattr(module, name)))


@contextmanager
def _in_memory(data: bytes) -> Iterator[int]:
    """An open in-memory file with this content, for this process and its children."""
    handle = os.memfd_create("sottovoce")
    try:
        os.write(handle, data)
        yield handle
    finally:
        os.close(handle)


def _path(handle: int) -> str:
    """Path by which a process can open its file descriptor."""
    return f"/proc/self/fd/{handle}"


def _free_port() -> int:
    """An unused port of the loopback address, for the SuperNode and its processes."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def main() -> None:
    """Entry point of a joined label's processes: `node PARENT` or `warm`. Others are forked."""
    what, *arguments = sys.argv[1:]
    kinds: dict[str, Callable[..., None]] = {"node": _node, "warm": _warm}
    kinds[what](*arguments)


if __name__ == "__main__":
    main()
