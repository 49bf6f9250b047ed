"""Flower's SuperNode, started for a label so that no code of a coordinator can run: all that leans on Flower's inside.

Two locks, either of which would do (docs/security.md, *No foreign code*):

1. Between SuperLink and SuperNode stands `_guarded`. It looks into each bundle without unpacking it and vouches for one
   that holds only configuration, with a key made at start. Flower's own check of `--trusted-entities` then refuses
   every bundle that nobody vouched for, before anything of it is stored.
2. The processes that answer messages are started by us. They never unpack the bundle, and take the app from what is
   installed here, whatever the bundle says.

A Flower that lacks what is replaced here is refused, and a bundle is refused where the first lock no longer sees it.
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
from contextlib import contextmanager
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

LOG = getLogger("flwr")  # the SuperNode's own log, which shows what it does about a bundle
SUPERLINK = "SOTTOVOCE_SUPERLINK"
CERTIFICATE = "SOTTOVOCE_CERTIFICATE"
GUARD = "sottovoce-guard"
POLL_SECONDS = "0.2"
"""How often a label's own processes look for a message that has come."""
GLANCE = 0.5
"""Seconds between two looks for a message at the SuperLink while a run is under way; else it is Flower's three."""
ATTENTIVE = 60.0
"""Seconds after an answer for which a run counts as under way."""
ALONE = 2.0
"""Seconds that a node stays after what answers its messages has ended."""
LOOPBACK = "127.0.0.1"
SECRET_BYTES = 32


def environment(home: LabelHome, superlink: str, certificate: Path) -> dict[str, str]:
    """What the SuperNode's process finds in its environment: where it belongs, and nothing on its path but ours.

    Args:
        home: the label's.
        superlink: `host:port`.
        certificate: file of the authority's certificate, PEM.
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
    """What starts the SuperNode's process."""
    return _process("node", str(os.getpid()))


def _process(*what: str) -> list[str]:
    # -P: the folder that somebody stands in is no place for modules to come from.
    return [sys.executable, "-P", "-m", __spec__.name, *what]


def _node(parent: str) -> None:
    """Be the SuperNode, until the parent ends. Its key is handed over in memory: an encrypted one stays so on disk."""
    from flwr.supercore.app_utils import start_parent_process_monitor
    from flwr.supernode import start_client_internal as client
    from flwr.supernode.cli.flower_supernode import flower_supernode

    start_parent_process_monitor(int(parent))
    home = LabelHome.open(Path(os.environ[HOME]))
    guard = Ed25519PrivateKey.generate()
    line = guard.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    _replace(client, "http_request_response", lambda connect: partial(_guarded, connect, guard))
    with (
        _in_memory(home.node_key().openssh()) as key,
        _in_memory(json.dumps({GUARD: line}).encode()) as trusted,
        _in_memory(os.urandom(SECRET_BYTES)) as secret,
    ):
        port = _free_port()
        _start_superexec(port, secret)
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


def _start_superexec(port: int, secret: int) -> None:
    """Start what starts a process for each message. With a secret, so that no other user of the machine takes them."""
    line = [
        *_process("superexec", "--insecure"),
        *("--runtime-api-address", f"{LOOPBACK}:{port}"),
        *("--superexec-auth-secret-file", _path(secret)),
        *("--parent-pid", str(os.getpid())),
    ]
    _leave_with(subprocess.Popen(line, pass_fds=[secret]))  # noqa: S603


def _leave_with(process: "subprocess.Popen[bytes]") -> None:
    """Have this process leave when another one has ended: a SuperNode alone takes messages that nobody answers."""

    def watch() -> None:
        process.wait()
        # Where all of a label ends, this process is told so as well: two signals at the same moment leave a traceback.
        time.sleep(ALONE)
        LOG.warning("What answers messages has ended.")
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=watch, daemon=True).start()


def _superexec(*arguments: str) -> None:
    """Be what starts a process for each message."""
    from flwr.supercore.cli.flower_superexec import flower_superexec

    runtime = importlib.import_module("flwr.supercore.superexec.run_superexec")
    _replace(runtime, "get_executor", lambda _: lambda *_, **__: Warm())
    sys.argv = ["flower-superexec", *arguments]
    flower_superexec()


class Warm:
    """Flower's `Executor` that has a process answer each message: forked from one that has imported everything already.

    Importing Flower and torch takes longer than a masked round. What is forked has been told nothing of any message,
    and each message has a process of its own still.
    """

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(_process("warm"), stdin=subprocess.PIPE)  # noqa: S603

    def launch(self, spec: Any) -> Any:
        """Have the message of an `ExecutionSpec` answered."""
        from flwr.supercore.constant import TaskType
        from flwr.supercore.superexec.executor.types import LaunchResult

        if spec.task_type != TaskType.CLIENT_APP:
            return LaunchResult.failed("A label does nothing but answer messages.")
        asked = {
            "--runtime-api-address": spec.runtime_api_address,
            "--token": spec.token,
            "--parent-pid": str(os.getpid()),
        }
        line = json.dumps(["--insecure", *(word for pair in asked.items() for word in pair)])
        if self._process.poll() is not None:  # out of memory, say
            self._start()
        stdin = self._process.stdin
        if stdin is None:
            return LaunchResult.failed()
        stdin.write(f"{line}\n".encode())
        stdin.flush()
        return LaunchResult.accepted()

    def get_eligible_capacity(self, supported_task_types: Any, **_: Any) -> tuple[Any, set[str]]:
        """As many as come: a SuperNode hands over one message at a time."""
        return supported_task_types, set()

    def wait_for_capacity(self, *_: Any, **__: Any) -> None:
        """There is always some."""

    def reconcile(self) -> None:
        """Nothing is to be put in order."""

    def close(self) -> None:
        """Let the process end; it does at the end of what it reads."""
        if self._process.stdin is not None:
            self._process.stdin.close()


def _warm() -> None:
    """Import what answers need, then fork a process for each line of arguments that comes."""
    for name in (
        "flwr.supernode.cli.flwr_clientapp",
        "sottovoce_client.flower.deployed_label",
        "sottovoce_client.rounds.trainer",
    ):
        importlib.import_module(name)
    gc.freeze()  # what was imported stays shared
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the processes
    for line in sys.stdin.buffer:
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
            _answer(*json.loads(line))
            return


def _answer(*arguments: str) -> None:
    """Answer one message, with the app that is installed here; the bundle stays packed."""
    from flwr.supernode.cli.flwr_clientapp import flwr_clientapp
    from flwr.supernode.runtime import run_clientapp as runtime

    _replace(runtime, "install_from_fab", lambda _: _unpack_nothing)
    _replace(runtime, "install_app_dependencies", lambda _: _install_nothing)
    _replace(runtime, "get_load_client_app_fn", lambda _: _load_installed)
    sys.argv = ["flwr-clientapp", *arguments]
    flwr_clientapp()


def _unpack_nothing(content: bytes, **_: Any) -> None:
    """In place of unpacking: a second look, since nothing here trusts that the first one took place."""
    check_bundle(content)


def _install_nothing(*_: Any, **__: Any) -> None:
    raise ConfigurationError("A label installs nothing that a bundle asks for.")


def _load_installed(**_: Any) -> Callable[..., Any]:
    from sottovoce_client.flower.deployed_label import app

    return lambda *_: app


@contextmanager
def _guarded(connect: Callable[..., Any], guard: Ed25519PrivateKey, *arguments: Any, **named: Any) -> Iterator[Any]:
    """Flower's connection to a SuperLink, with every bundle looked into on its way."""
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
    """Flower's `receive`, made to look again soon where the last look brought a message: a run is under way then.

    Args:
        receive: looks for a message once; None is none.
        seconds: to go on looking for before it is said that there is none.
        glance: seconds between two looks.
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
    """The bundle with our word for it, in the form in which Flower takes a trusted entity's; without, if it is refused.

    Args:
        fab: `flwr.supercore.fab.Fab`, as the SuperLink sent it.
        run: `flwr.supercore.run.Run` that it is for; Flower would name paths and processes by what this says.
        guard: the key that this process vouches with.
    """
    try:
        bundle = check_bundle(fab.content)
        if run is None or (run.fab_id, run.fab_version, run.fab_hash) != (bundle.app, bundle.version, bundle.digest):
            raise BundleRefused("The run is of another app than its bundle.")
        if fab.hash_str != bundle.digest:
            raise BundleRefused("It is another bundle than was asked for.")
        if run.primary_task_type not in ("", "flwr-serverapp"):
            raise BundleRefused("The run wants more of a label than answers to messages.")
    except BundleRefused as error:
        LOG.warning("Refused a bundle, of which nothing was unpacked: %s", error.message)
        return replace(fab, verifications={})
    signed_at = int(time.time())
    signature = guard.sign(signed_at.to_bytes(8, "big") + bytes.fromhex(bundle.digest))
    record = {"signed_at": signed_at, "signature": base64.urlsafe_b64encode(signature).decode()}
    return replace(fab, verifications={"valid_license": GUARD, GUARD: json.dumps(record)})


def _replace(module: Any, name: str, made: Callable[[Any], Any]) -> None:
    """Put our own, made of Flower's, in the place of a name of Flower's, which must be there.

    Raises:
        ConfigurationError: it is not, so that this Flower works in another way.
    """
    if not hasattr(module, name):
        raise ConfigurationError(
            f"This version of Flower has no {module.__name__}.{name}: a label cannot be kept safe with it.",
            hint="Install the version that Sottovoce asks for.",
        )
    setattr(module, name, made(getattr(module, name)))


@contextmanager
def _in_memory(data: bytes) -> Iterator[int]:
    """An open file of some bytes that are on no disk, for this process and those that are given it."""
    handle = os.memfd_create("sottovoce")
    try:
        os.write(handle, data)
        yield handle
    finally:
        os.close(handle)


def _path(handle: int) -> str:
    """Where a process finds a file that it has open."""
    return f"/proc/self/fd/{handle}"


def _free_port() -> int:
    """A port of the loopback address that nobody uses now, for the SuperNode and its processes to talk over."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def main() -> None:
    """`node PARENT`, `superexec …` or `warm`: the kinds of process that a joined label has. Answers are forked."""
    what, *arguments = sys.argv[1:]
    kinds: dict[str, Callable[..., None]] = {"node": _node, "superexec": _superexec, "warm": _warm}
    kinds[what](*arguments)


if __name__ == "__main__":
    main()
