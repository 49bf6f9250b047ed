"""The operator's, coordinator's and consumer's commands, as they type them."""

import json
import signal
import ssl
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from safetensors.numpy import save
from typer.testing import CliRunner

from sottovoce.cli import app
from sottovoce.federation.enrolment import Enrolment
from sottovoce.federation.invitation import Invitation
from sottovoce.release.manifest import FileEntry
from sottovoce.release.manifest_reading import read_manifest
from sottovoce.release.pull import pull
from sottovoce.release.registry_client import RegistryClient
from sottovoce.release.signatures import Role, Signature, encode
from sottovoce.release.versions import Reference
from sottovoce.release.write import cosign
from sottovoce_client.home.node_key import NodeKey
from sottovoce_server.commands.registry_serve import _settings
from sottovoce_server.home.certificates import make_authority

NAME = "isles-style-svm"
VERSION = "20260101T000000Z"
REFERENCE = f"{NAME}@{VERSION}"


@pytest.fixture
def sottovoce(tmp_path):
    """Run the program in this process, with its own registry folder and record of releases."""
    environment = {
        "COLUMNS": "160",
        "NO_COLOR": "1",
        "TERM": "dumb",
        "SOTTOVOCE_REGISTRY": str(tmp_path / "registry"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    runner = CliRunner(env=environment)

    def run(*arguments, code=0):
        result = runner.invoke(app, [str(argument) for argument in arguments], prog_name="sottovoce")
        assert result.exit_code == code, result.output
        return result

    return run


class Service:
    """`sottovoce registry serve` as a process."""

    def __init__(self, process, eventually):
        self.process = process
        eventually(lambda: "\n" in process.stderr, "it serves", alive=process.alive)
        self.first, _, _ = process.stderr.partition("\n")
        assert self.first.startswith("Serving: "), process.stderr
        self.url = self.first.split()[1]
        self.port = int(self.url.rpartition(":")[2])

    def end(self, how=signal.SIGINT):
        self.process.signal(how)
        code = self.process.wait()
        return code, self.process.stderr.removeprefix(f"{self.first}\n")


@pytest.fixture
def start(tmp_path, agreement, program, eventually):
    agreement.write(tmp_path / "federation.toml")
    where = ("--data", tmp_path / "registry", "--key", tmp_path / "federation.toml")
    return lambda *options, port=0: Service(program("registry", "serve", *where, "--port", port, *options), eventually)


@pytest.fixture
def publish_token(sottovoce, tmp_path):
    sottovoce("registry", "token", "create", "coordinator", "--scope", "publish", "--out", tmp_path / "publish.token")
    return tmp_path / "publish.token"


def test_a_token_from_birth_to_end(sottovoce, tmp_path):
    made = sottovoce("registry", "token", "create", "studio", "--scope", "read", "--model", NAME, "--days", 30)
    text = made.stdout.strip()
    assert text.startswith("sottovoce_")
    assert text not in made.stderr
    [listed] = json.loads(sottovoce("registry", "token", "list", "--json").stdout)
    assert (listed["name"], listed["scopes"], listed["models"], listed["state"]) == (
        "studio",
        ["read"],
        [NAME],
        "valid",
    )
    assert text.rpartition("_")[2] not in json.dumps(listed)
    assert listed["id"] in sottovoce("registry", "token", "list").stdout
    sottovoce("registry", "token", "revoke", listed["id"])
    assert json.loads(sottovoce("registry", "token", "list", "--json").stdout)[0]["state"] == "revoked"
    actions = [each["action"] for each in json.loads(sottovoce("registry", "audit", "--json").stdout)]
    assert actions == ["token-create", "token-revoke"]


def test_a_token_in_a_file_is_its_owners(sottovoce, publish_token, tmp_path):
    assert publish_token.stat().st_mode & 0o777 == 0o600
    again = ("registry", "token", "create", "x", "--scope", "read", "--out", publish_token)
    assert "already exists" in sottovoce(*again, code=2).stderr
    assert len(json.loads(sottovoce("registry", "token", "list", "--json").stdout)) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["token", "create", "x", "--scope", "admin"], "Unknown scope 'admin'"),
        (["token", "create", "X Y", "--scope", "read"], "name has small letters"),
        (["token", "create", "x", "--scope", "read", "--model", "../x"], "name has small letters"),
        (["token", "revoke", "nobody"], "no token with this id"),
        (["token", "revoke", "a\x00b"], "no token with this id"),
        (["visibility", "nothing", "public"], "no such model"),
        (["visibility", "nothing", "open"], "Unknown visibility 'open'"),
        (["withdraw", REFERENCE], "no such release"),
        (["withdraw", NAME], "No version given"),
        (["withdraw", "../x"], "not a release's name"),
        (["models", "--database-url", "mysql://root:hunter2@x/y"], "not supported"),
        (["models", "--database-url", "postgresql://u:hunter2@127.0.0.1:1/y"], "cannot be used"),
    ],
)
def test_what_an_operator_gets_wrong(sottovoce, arguments, message):
    result = sottovoce("registry", *arguments, code=2)
    assert message in result.stderr
    assert "hunter2" not in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--key", "x"], "neither a key"),
        (["--key", "ab" * 32, "--host", "0.0.0.0"], "Without TLS"),
        (["--key", "ab" * 32, "--tls-cert", "x"], "used together"),
        (["--key", "ab" * 32, "--tls-cert", "x", "--tls-key", "y"], "There is no file 'x'"),
        (["--key", "ab" * 32, "--tls-cert", __file__, "--tls-key", __file__], "cannot be used"),
        (["--key", "ab" * 32, "--host", "no.such.host.example", "--plain-http"], "Cannot listen"),
    ],
)
def test_what_a_service_does_not_start_with(program, options, message, tmp_path):
    done = program("registry", "serve", "--data", tmp_path / "registry", *options)
    assert done.wait() == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_from_publication_to_use(sottovoce, start, publish_token, release, coordinator, labels, tmp_path, agreement):
    service = start()
    where = ("--to", service.url, "--token-file", publish_token)
    done = sottovoce("release", "publish", release, *where, "--key", tmp_path / "federation.toml")
    assert done.stdout == f"Published as {REFERENCE}.\n"
    source = ("--from", service.url)
    assert json.loads(sottovoce("release", "list", *source, "--json").stdout) == []
    sottovoce("registry", "visibility", NAME, "public")
    [model] = json.loads(sottovoce("release", "list", *source, "--json").stdout)
    assert (model["name"], model["newest"]) == (NAME, VERSION)
    assert NAME in sottovoce("release", "list", *source).stdout

    key = coordinator.public_key.hex()
    out = tmp_path / "model"
    pulled = sottovoce("release", "pull", NAME, *source, "--key", key, "--out", out)
    assert "signed with the key that you trust" in pulled.stdout
    assert "Verified" in sottovoce("release", "verify", out, "--key", key).stdout

    cosign(out, labels["north"], label="north", trusted_key=coordinator.public_key)
    sottovoce("registry", "token", "create", "north", "--scope", "cosign", "--out", tmp_path / "north.token")
    sent = sottovoce("release", "publish", out, "--to", service.url, "--token-file", tmp_path / "north.token", "--json")
    assert json.loads(sent.stdout)["signatures_added"] == 1
    again = sottovoce("release", "pull", NAME, *source, "--key", key, "--out", tmp_path / "second", "--json")
    assert json.loads(again.stdout)["cosigned_by"] == ["north"]

    sottovoce("registry", "withdraw", REFERENCE)
    gone = sottovoce("release", "pull", NAME, *source, "--key", key, "--out", tmp_path / "third", code=2)
    assert "withdrawn" in gone.stderr
    assert not (tmp_path / "third").exists()
    actions = {each["action"] for each in json.loads(sottovoce("registry", "audit", "--json").stdout)}
    assert actions == {"token-create", "publish", "visibility", "download", "cosign", "withdraw"}
    code, said = service.end()
    assert (code, said) == (0, "Stopped: no transfer was interrupted.\n")
    unreachable = sottovoce("release", "list", *source, code=6)
    assert "cannot be reached" in unreachable.stderr


def large_release(release, coordinator, folder, size):
    """The release with a model of this many parameters; the registry and `pull` look at bytes, not at families."""
    manifest = read_manifest((release / "manifest.json").read_bytes())
    model = save({"x": np.random.default_rng(0).normal(size=size).astype(np.float32)})
    files = dict(manifest.files) | {"model.safetensors": FileEntry(len(model), sha256(model).hexdigest())}
    raw = replace(manifest, shapes={"x": (size,)}, parameters=size, files=files).to_bytes()
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(model)
    (folder / "normalisation.safetensors").write_bytes((release / "normalisation.safetensors").read_bytes())
    (folder / "manifest.json").write_bytes(raw)
    (folder / "manifest.sig").write_bytes(encode((Signature.make(coordinator, Role.COORDINATOR, "isles", raw),)))
    return folder, len(model)


@pytest.mark.slow
def test_a_service_that_is_killed_in_the_middle_of_a_download(
    sottovoce, start, publish_token, release, coordinator, tmp_path, seen, memory, monkeypatch
):
    monkeypatch.undo()  # here retries wait
    folder, size = large_release(release, coordinator, tmp_path / "large", 8 << 20)
    service = start()
    sottovoce(
        "release", "publish", folder, "--to", service.url, "--token-file", publish_token, "--visibility", "public"
    )
    done = []
    restarted = threading.Event()

    def kill_once(file, there, of):
        if file != "model.safetensors":
            return
        done.append(there)
        if there > of // 4 and not restarted.is_set():
            service.process.end()
            start(port=service.port)
            restarted.set()

    with RegistryClient(service.url) as client:
        pulled = pull(
            client,
            Reference.parse(NAME),
            coordinator.public_key,
            tmp_path / "model",
            seen=seen,
            memory=memory,
            progress=kill_once,
        )
    assert restarted.is_set()
    assert pulled.reference.version == VERSION
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert done == sorted(done)  # it went on where it was
    assert done[-1] == size
    lines = json.loads(sottovoce("registry", "audit", "--json").stdout)
    assert sum(each["subject"] == f"{REFERENCE} model.safetensors" for each in lines) == 2


@pytest.mark.slow
def test_a_service_that_is_killed_in_the_middle_of_an_upload(start, publish_token, release, coordinator, tmp_path):
    folder, _ = large_release(release, coordinator, tmp_path / "large", 8 << 20)
    service = start()
    from sottovoce.errors import RegistryError
    from sottovoce.release.publish import publish
    from sottovoce.release.registry_client import read_token

    def kill(file, there, of):
        if file == "model.safetensors" and there > of // 4:
            service.process.end()

    token = read_token(publish_token)
    with RegistryClient(service.url, token) as client, pytest.raises(RegistryError):
        publish(client, folder, progress=kill)
    again = start()
    with RegistryClient(again.url, token) as client:
        assert client.json("models")["models"] == []
        assert publish(client, folder).new


@pytest.fixture
def certificate(tmp_path):
    """A certificate for this machine, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (tmp_path / "cert.pem").write_bytes(made.public_bytes(pem))
    plain = serialization.NoEncryption()
    (tmp_path / "tls.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return tmp_path / "cert.pem", tmp_path / "tls.pem"


def test_the_old_name_of_the_service_still_works_and_names_the_new_one(program):
    done = program("serve", "--key", "x")
    assert done.wait() == 2
    assert "`sottovoce serve` is now `sottovoce registry serve`" in done.stderr
    assert "neither a key" in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
def test_tls(sottovoce, start, publish_token, certificate, release):
    cert, key = certificate
    service = start("--tls-cert", cert, "--tls-key", key)
    assert ssl.get_server_certificate(("127.0.0.1", service.port)) == cert.read_text()
    where = ("--to", f"https://localhost:{service.port}", "--token-file", publish_token)
    refused = sottovoce("release", "publish", release, *where, code=6)
    assert "not issued by a trusted authority" in refused.stderr
    assert "Published" in sottovoce("release", "publish", release, *where, "--authority", cert).stdout
    code, _ = service.end(signal.SIGTERM)
    assert code in (0, -signal.SIGTERM)


@pytest.mark.slow
def test_a_port_that_is_taken(program, start, tmp_path):
    service = start()
    where = ("--key", "ab" * 32, "--port", service.port, "--data", tmp_path / "another")
    done = program("registry", "serve", *where)
    assert done.wait() == 2
    assert "Cannot listen on 127.0.0.1" in done.stderr


def test_the_signed_agreement_pins_its_coordinator_and_its_labels(tmp_path, coordinator, agreement, labels):
    """`sottovoce server sign` writes the file for the labels; an operator passes the same file."""
    make_authority(tmp_path / "authority.key", file := tmp_path / "authority.pem")
    node_key = NodeKey.generate().public
    enrolments = [
        Enrolment.sign(labels[member.name], name=member.name, node_key=node_key, federation=agreement.federation)
        for member in agreement.members
    ]
    signed = Invitation.sign(
        coordinator, agreement, enrolments, superlink="127.0.0.1:9092", certificate=file.read_text()
    )
    signed.write(tmp_path / "federation.toml")
    settings = _settings([str(tmp_path / "federation.toml")], 1 << 20, 10)
    assert settings.agreements == (agreement,)
    assert coordinator.public_key in settings.keys
