"""A real SuperLink on the loopback address, with TLS and node authentication, for labels to join."""

import datetime as dt
import hashlib
import ipaddress
import json
import os
import socket
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sottovoce.federation.agreement import Agreement
from sottovoce.federation.enrolment import Enrolment
from sottovoce.federation.identity import Identity
from sottovoce.federation.invitation import Invitation
from sottovoce_client.flower.bundle_check import APP
from sottovoce_client.home.confirmations import confirm
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.node_key import NodeKey

SERVERAPP = "served:app"
SERVED = Path(__file__).parent / "served"
ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def script(name: str) -> str:
    """A console script of Flower's, in this environment or the one below it."""
    import flwr

    below = Path(flwr.__file__).parents[4] / "bin" / name
    own = Path(sysconfig.get_path("scripts")) / name
    return str(own if own.exists() else below)


def certificates(folder: Path) -> tuple[Path, Path, Path]:
    """An authority's certificate, and a server's certificate and key for the loopback address."""
    now = dt.datetime.now(dt.UTC)

    def made(name: str, issuer, signer, public, authority: bool):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=30))
            .add_extension(x509.BasicConstraints(authority, None), critical=True)
        )
        if not authority:
            names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(signer, hashes.SHA256())

    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = made("test authority", None, root_key, root_key.public_key(), True)
    server = made("localhost", root.subject, root_key, key.public_key(), False)
    paths = folder / "ca.pem", folder / "server.pem", folder / "server.key"
    paths[0].write_bytes(root.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(server.public_bytes(serialization.Encoding.PEM))
    paths[2].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def pyproject_with(**changes: object) -> dict:
    values: dict = {
        "project": {"name": "sottovoce", "version": "0.1.0", "dependencies": []},
        "tool": {
            "flwr": {
                "app": {
                    "publisher": "sottovoce",
                    "components": {"serverapp": SERVERAPP, "clientapp": APP},
                    "config": {"rounds": 3},
                }
            }
        },
    }
    return {**values, **changes}


def bundle_of(files: dict[str, bytes] | None = None, pyproject: dict | None = None) -> bytes:
    """A bundle as `flwr build` makes one: every file in its list of hashes."""
    everything = {"pyproject.toml": tomli_w.dumps(pyproject or pyproject_with()).encode(), **(files or {})}
    lines = [f"{name},{hashlib.sha256(data).hexdigest()},{8 * len(data)}" for name, data in everything.items()]
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in everything.items():
            archive.writestr(name, data)
        archive.writestr(".info/CONTENT", "\n".join(lines))
    return packed.getvalue()


@dataclass
class SuperLink:
    """A SuperLink's process; `start` and `stop` as often as wanted, with one database."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.authority, self.certificate, self.key = certificates(self.folder)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        environment = {
            **os.environ,
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_HOME": str(self.folder / "flower"),
            "PATH": f"{Path(script('flower-superlink')).parent}:{os.environ['PATH']}",
            **self.environment,
        }
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    script("flower-superlink"),
                    *("--ssl-certfile", str(self.certificate)),
                    *("--ssl-keyfile", str(self.key)),
                    *("--ssl-ca-certfile", str(self.authority)),
                    *("--database", str(self.folder / "link.sqlite")),
                    "--enable-supernode-auth",
                    "--disable-runtime-dependency-installation",
                    *("--port", str(self.port)),
                ],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._listens, 60, "the SuperLink listens")

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def stop(self) -> None:
        stop(self.process)

    def client(self):
        from flwr.supercore.control import ControlHttpClient
        from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

        return ControlHttpClient.from_server_address(
            self.address,
            False,
            self.authority.read_bytes(),
            interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr CLI")],
        )

    def register(self, node_key: str) -> int:
        from flwr.proto.control_pb2 import RegisterNodeRequest

        with self.client() as client:
            public = serialization.load_ssh_public_key(node_key.encode())
            pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            return client.RegisterNode(RegisterNodeRequest(public_key=pem)).node_id

    def run(self, bundle: bytes) -> int:
        from flwr.proto.control_pb2 import StartRunRequest
        from flwr.proto.fab_pb2 import Fab

        fab = Fab(hash_str=hashlib.sha256(bundle).hexdigest(), content=bundle)
        with self.client() as client:
            return client.StartRun(StartRunRequest(fab=fab)).run_id


def stop(process: "subprocess.Popen[bytes] | None") -> None:
    import signal

    if process is None:
        return
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(15)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until(holds: Callable[[], object], seconds: float, what: str) -> object:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := holds():
            return found
        time.sleep(0.05)
    raise AssertionError(f"within {seconds:g} s it did not come that {what}")


@dataclass
class Joined:
    """`sottovoce label join` in a process of its own."""

    home: LabelHome
    invitation: Path
    node_key: str
    process: "subprocess.Popen[bytes] | None" = None
    environment: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()

    @property
    def log(self) -> Path:
        return self.home.root.parent / f"{self.home.name}.log"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    *("-m", "sottovoce", "label", "join", str(self.invitation), "--home", str(self.home.root)),
                    *self.arguments,
                ],
                env={**os.environ, "OMP_NUM_THREADS": "1", **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def said(self, text: str, *, times: int = 1) -> bool:
        return self.log.read_text().count(text) >= times

    def stop(self) -> None:
        stop(self.process)


@pytest.fixture
def superlink(tmp_path: Path) -> Iterator[SuperLink]:
    link = SuperLink(tmp_path / "superlink")
    yield link
    link.stop()


@pytest.fixture
def passphrase() -> str | None:
    """Passphrase of the label's keys; none unless a test overrides this."""
    return None


@pytest.fixture
def label_home(tmp_path: Path, passphrase: str | None) -> LabelHome:
    secret = passphrase.encode() if passphrase else None
    return LabelHome.create(tmp_path / "label", name="blue-note", passphrase=secret)


@pytest.fixture
def joined(tmp_path: Path, superlink: SuperLink, label_home: LabelHome, passphrase: str | None) -> Iterator[Joined]:
    """A label's home with a signed invitation to the SuperLink; `start` it."""
    coordinator, secret = Identity.generate(), passphrase.encode() if passphrase else None
    own = Identity.load(label_home.identity_file, passphrase=secret)
    node_key = NodeKey.load(label_home.node_key_file, passphrase=secret).public
    others = {f"label-{n}": Identity.generate() for n in range(2)}
    enrolments = [
        Enrolment.sign(identity, name=name, node_key=node_key, federation="test")
        for name, identity in {"blue-note": own, **others}.items()
    ]
    agreement = Agreement("test", coordinator.public_key, tuple(each.member for each in enrolments))
    certificate = superlink.authority.read_text()
    Invitation.sign(coordinator, agreement, enrolments, superlink=superlink.address, certificate=certificate).write(
        tmp_path / "federation.toml"
    )
    confirm(label_home, own, "test", agreement.members[1:])
    label = Joined(label_home, tmp_path / "federation.toml", node_key)
    yield label
    label.stop()


@pytest.fixture
def served(superlink: SuperLink, joined: Joined, tmp_path: Path) -> Callable[..., Any]:
    """Runs bundles on the SuperLink, with one joined label; returns the answers that the app of each received.

    Several run at the same time. For one bundle, returns its answer; for several, a list.
    """
    replies = tmp_path / "replies"
    replies.mkdir()
    paths = [SERVED, *(ROOT / side for side in ("shared", "client", "server", "simulations"))]
    superlink.environment = {
        "PYTHONPATH": ":".join(map(str, paths)),
        "TEST_REPLIES": str(replies),
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",
    }
    superlink.start()
    superlink.register(joined.node_key)
    joined.start()
    wait_until(lambda: joined.said("SuperNode ID"), 60, "the label is connected")

    def run(*bundles: bytes) -> Any:
        files = [replies / f"{superlink.run(bundle)}.json" for bundle in bundles]
        for file in files:
            wait_until(file.exists, 90, "the run ends")
        answers = [json.loads(file.read_text()) for file in files]
        return answers if len(answers) > 1 else answers[0]

    return run


@pytest.fixture
def a_bundle():
    return bundle_of


@pytest.fixture
def a_pyproject():
    return pyproject_with


@pytest.fixture
def eventually():
    return wait_until
