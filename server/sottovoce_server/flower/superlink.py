"""Flower's SuperLink as a coordinator runs it; only this module and `control` know how it is started.

Three things differ from Flower's defaults. Its Control API, on the port that labels reach, lets anybody start a run,
and a run brings code for the coordinator's machine: here it requires a token. Its Runtime API gives tasks to any
caller: here it requires a secret. And only nodes of the agreement's labels are accepted.
"""

import hmac
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence, Set
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from logging import getLogger
from threading import Event, Thread
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

from sottovoce.errors import ConfigurationError
from sottovoce.files import write_bytes
from sottovoce_server.home.coordinator_home import HOME, ServerHome, port_of
from sottovoce_server.ports.bounded_body import BoundedBody
from sottovoce_server.ports.bounded_http import allow_open_files, bounded

if TYPE_CHECKING:
    from flwr.server.superlink.linkstate import LinkState
    from flwr.supercore.auth.typing import AccountInfo
    from flwr.superlink.auth_plugin import ControlAuthnPlugin
    from flwr.superlink.config_loader import SuperLinkLifespanConfig

_IN_WORDS = 'import sys; sys.excepthook = lambda kind, error, _: print(f"{kind.__name__}: {error}", file=sys.stderr); '
"""Beginning of a program that ends with an error in words: Flower's own give up where a disk is full."""
_SUPEREXEC = f"{_IN_WORDS}from flwr.supercore.cli.flower_superexec import flower_superexec; flower_superexec()"
_SERVERAPP = "from flwr.superlink.cli.flwr_serverapp import flwr_serverapp; flwr_serverapp()"
POLL_SECONDS = "1"
"""Interval at which the SuperLink's own processes poll for submitted runs, seconds."""
PAUSE = 1.0
"""Pause before the process that starts the coordinator's app is restarted, seconds."""
GLANCE = 0.1
"""Interval between checks of that process, seconds."""
LOG = getLogger("flwr")  # the SuperLink's own log
LOOPBACK = "127.0.0.1"
ANYWHERE = "0.0.0.0"  # noqa: S104 - labels connect from outside, and are authenticated by their keys


def environment(home: ServerHome) -> dict[str, str]:
    """Environment of Flower's processes: no telemetry, a separate home folder, our programs first on the path.

    Flower starts the app by a bare name; a script with that name runs it with this Python.
    """
    scripts = home.flower / "bin"
    scripts.mkdir(mode=0o700, parents=True, exist_ok=True)
    line = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -c {shlex.quote(_SERVERAPP)} "$@"\n'
    write_bytes(scripts / "flwr-serverapp", line.encode(), mode=0o700)
    return {
        HOME: str(home.root),
        "PATH": os.pathsep.join((str(scripts), os.defpath)),
        "FLWR_HOME": str(home.flower),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": POLL_SECONDS,
    }


def serve(
    home: ServerHome,
    *,
    host: str = ANYWHERE,
    port: int | None = None,
    beside: AbstractContextManager[object] | None = None,
) -> None:
    """Run the SuperLink until SIGINT or SIGTERM.

    Args:
        home: the coordinator's home, with a signed agreement.
        host: address to listen on.
        port: port to listen on; None for the agreement's, which labels connect to.
        beside: entered when the SuperLink is about to answer, and left when it has stopped.

    Raises:
        ConfigurationError: the agreement is not signed, or does not match the enrolled labels.
    """
    invitation = home.invitation()
    keys = {each.name: each.node_key for each in home.enrolled()}
    members = {member.name for member in invitation.agreement.members}
    if set(keys) != members:
        raise ConfigurationError(
            "Labels were enrolled or removed since the agreement was signed.", hint="Run: sottovoce server sign"
        )
    port = port or port_of(invitation.superlink)
    os.environ.update(environment(home))  # before Flower is imported, which reads some of it
    os.umask(0o077)  # the database contains what labels send

    import uvicorn
    from flwr.superlink.cli.flower_superlink import SuperLinkLifespan
    from flwr.superlink.main import create_app

    from sottovoce_server.flower.callers import Callers

    app = create_app(_configuration(home, host, port), SuperLinkLifespan)
    nodes = {_pem(key) for key in keys.values()}
    state = app.state.linkstate_factory.state()
    _know_only(state, nodes)
    allow_open_files()
    config = bounded(
        BoundedBody(app, Callers(nodes, lambda token: state.get_task_by_token(token) is not None).largest_body),
        host=host,
        port=port,
        ssl_keyfile=str(home.server_key_file),
        ssl_certfile=str(home.server_file),
    )
    with _superexec(home, port), beside or nullcontext():
        uvicorn.Server(config).run()


def _configuration(home: ServerHome, host: str, port: int) -> "SuperLinkLifespanConfig":
    from flwr.superlink.config_loader import SuperLinkLifespanConfig

    authority, certificate, key = (
        file.read_bytes() for file in (home.authority_file, home.server_file, home.server_key_file)
    )
    return SuperLinkLifespanConfig(
        control_address="",
        health_server_address=None,
        host=host,
        port=port,
        insecure=False,
        certificates=(authority, certificate, key),
        superexec_auth_secret=home.superexec_file.read_bytes(),
        authn_plugin=_token_plugin(home.token()),
        event_log_plugin=None,
        fleet_event_log_plugin=None,
        enable_event_log=False,
        artifact_provider=None,
        enable_supernode_auth=True,
        fleet_api_type="grpc-rere",
        fleet_api_address=None,
        simulation=False,
        ssl_ca_certfile=str(home.authority_file),
        ssl_certfile=str(home.server_file),
        ssl_keyfile=str(home.server_key_file),
        database=str(home.database_file),
        isolation="process",  # we start SuperExec ourselves, with a secret
        runtime_dependency_install=False,
    )


def _token_plugin(token: str) -> "ControlAuthnPlugin":
    """Flower plugin that authorises the Control API: callers must present the token of the coordinator's home."""
    from flwr.superlink.auth_plugin import NoOpControlAuthnPlugin

    class TokenPlugin(NoOpControlAuthnPlugin):
        def validate_tokens_in_metadata(
            self, metadata: Sequence[tuple[str, str | bytes]]
        ) -> "tuple[bool, AccountInfo | None]":
            shown = [value.encode() if isinstance(value, str) else value for _, value in metadata]
            if len(shown) != 1 or not hmac.compare_digest(shown[0], token.encode()):
                return False, None
            return super().validate_tokens_in_metadata(metadata)

    return TokenPlugin()


def _pem(key: str) -> bytes:
    """A node's key in Flower's format (PEM), from its OpenSSH form."""
    return load_ssh_public_key(key.encode()).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _know_only(state: "LinkState", wanted: Set[bytes]) -> None:
    """Register exactly the nodes with these keys (PEM) in the SuperLink's database; existing ones keep their number.

    A label that left and is back is still there, unregistered, and Flower would not register its key again.
    """
    from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, NOOP_ACCOUNT_NAME, NOOP_FLWR_AID
    from flwr.server.superlink.linkstate.sql_linkstate import SqlLinkState
    from flwr.supercore.constant import NodeStatus
    from flwr.supercore.state.schema.linkstate_models import Node
    from sqlalchemy import update

    if isinstance(state, SqlLinkState):
        back = update(Node).where(Node.public_key.in_(sorted(wanted)), Node.status == NodeStatus.UNREGISTERED)
        with state.session() as session:
            session.execute(back.values(status=NodeStatus.REGISTERED, unregistered_at=None))
    known = {
        node.public_key: node.node_id
        for node in state.get_node_info(owner_aids=[NOOP_FLWR_AID])
        if node.status != NodeStatus.UNREGISTERED
    }
    for key in known.keys() - wanted:
        state.delete_node(NOOP_FLWR_AID, known[key])
    for key in sorted(wanted - known.keys()):
        state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, key, HEARTBEAT_DEFAULT_INTERVAL)


@contextmanager
def _superexec(home: ServerHome, port: int) -> Iterator[None]:
    """The process that starts the coordinator's app for each run; it ends with this one in any case."""
    command = [
        *(sys.executable, "-P", "-c", _SUPEREXEC),
        *("--runtime-api-address", f"{LOOPBACK}:{port}"),
        *("--root-certificates", str(home.authority_file)),
        *("--superexec-auth-secret-file", str(home.superexec_file)),
        *("--parent-pid", str(os.getpid())),
    ]
    stop = Event()
    keeper = Thread(target=_keep_alive, args=(command, stop))
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join()


def _keep_alive(command: Sequence[str], stop: Event) -> None:
    """Run a process until `stop` is set, and restart it whenever it ends.

    Flower's exits at the first error response, for example when the database was busy for too long: runs would never
    begin, while labels are still served.
    """
    while not stop.is_set():
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own interpreter and files
        try:
            while process.poll() is None and not stop.wait(GLANCE):
                pass
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
        if not stop.wait(PAUSE):
            LOG.warning("The process that starts the coordinator's app has ended; restarting it.")
