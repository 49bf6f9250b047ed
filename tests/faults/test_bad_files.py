"""Every file that a label reads, damaged at random: a clear error or a value, no other end, and nothing written."""

import hashlib
import io
import json
import shutil
import tomllib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sottovoce.errors import SottovoceError
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.confirmation import read_confirmations
from sottovoce.federation.enrolment import Enrolment
from sottovoce.federation.identity import Identity
from sottovoce.federation.invitation import Invitation
from sottovoce.models.trainable import trainable_mask
from sottovoce.run.global_model import GlobalModel
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.catalogue.sheet import read_sheet
from sottovoce_client.catalogue.sides import Sides
from sottovoce_client.flower.bundle_check import APP, CONFIGURATION, HASHES, check_bundle
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.node_key import NodeKey, passphrase_of_file
from sottovoce_client.home.policy import Policy
from sottovoce_client.home.policy_template import policy_text
from sottovoce_client.rounds.run_state import RunStates

pytestmark = pytest.mark.slow

FUZZ = settings(max_examples=80, database=None, suppress_health_check=list(HealthCheck))
NAME = "label-1"
PASSPHRASE = b"correct horse"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@dataclass(frozen=True)
class File:
    """A file that a label reads.

    Args:
        place: path below the home, or beside it.
        read: reads it; receives the home.
        text: structure that is damaged in addition: `json` or `toml`.
        sealed: whether damage must never change what is read: the file is signed, chained or has a digest.
    """

    place: str
    read: Callable[[LabelHome], Any]
    text: str = ""
    sealed: bool = False


def rows(home: LabelHome) -> object:
    with Ledger(home.ledger_file) as ledger:
        return ledger.rows()


def sides(home: LabelHome) -> object:
    with Sides(home.sides_file) as table:
        return table.counts()


def states(home: LabelHome) -> tuple[RunStates, bytes]:
    run = bytes.fromhex(next(file.stem for file in home.runs.glob("*.json")))
    return RunStates(home.runs, Identity.load(home.identity_file), home.agreement(), 3), run


def state(home: LabelHome) -> object:
    found, run = states(home)
    return found.load(run).participant.to_bytes()


def model(home: LabelHome) -> object:
    found, run = states(home)
    config, saved = found.load(run).config, found.model(run)
    assert saved is not None
    known = {"run": run, "labels": len(home.agreement().members), "trainable": trainable_mask(config)}
    return GlobalModel.from_bytes(saved, config, **known).digest  # type: ignore[arg-type]


FILES = {
    "policy": File("policy.toml", lambda home: Policy.from_toml(home.policy_file), "toml"),
    "home": File("home.json", lambda home: LabelHome.open(home.root), "json"),
    "agreement": File("federation.toml", lambda home: home.agreement(), "toml"),
    "invitation": File("invitation.toml", lambda home: Invitation.read(home.invitation_file), "toml", sealed=True),
    "confirmations": File(  # each is signed; one that is cut out counts for nothing any more
        "confirmations.json", lambda home: read_confirmations(home.confirmations_file), "json"
    ),
    "enrolment": File("enrolment.json", lambda home: Enrolment.read(home.root / "enrolment.json"), "json", sealed=True),
    "identity": File("identity.key", lambda home: Identity.load(home.identity_file)),
    "node key": File("node.key", lambda home: NodeKey.load(home.node_key_file).public),
    "encrypted identity": File(
        "locked/identity.key", lambda home: Identity.load(home.root / "locked/identity.key", passphrase=PASSPHRASE)
    ),
    "encrypted node key": File(
        "locked/node.key", lambda home: NodeKey.load(home.root / "locked/node.key", passphrase=PASSPHRASE).public
    ),
    "passphrase": File("passphrase", lambda home: passphrase_of_file(home.root / "passphrase")),
    "sides": File("sides.sqlite", sides),
    "ledger": File("ledger.sqlite", rows, sealed=True),
    "state": File("runs/*.json", state, "json"),
    "model": File("runs/*.model", model, sealed=True),
    "diary": File("diary.jsonl", lambda home: home.diary.notes()),
    "sheet": File("music/catalogue.csv", lambda home: read_sheet(home.root / "music")),
    "bundle": File("bundle.fab", lambda home: check_bundle((home.root / "bundle.fab").read_bytes())),
}


def certificate() -> str:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def bundle() -> bytes:
    components = {"serverapp": "any:app", "clientapp": APP}
    app = {"publisher": "sottovoce", "components": components, "config": {"run": "00"}}
    project = {"name": "sottovoce", "version": "1.0.0", "dependencies": []}
    text = tomli_w.dumps({"project": project, "tool": {"flwr": {"app": app}}}).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(CONFIGURATION, text)
        archive.writestr(HASHES, f"{CONFIGURATION},{hashlib.sha256(text).hexdigest()},{8 * len(text)}")
    return packed.getvalue()


@pytest.fixture(scope="module")
def _filled(table_in: Any, tmp_path_factory: pytest.TempPathFactory) -> LabelHome:
    """A label that has joined a run and accepted its first round, with every kind of file that it may be given."""
    table = table_in(tmp_path_factory.mktemp("filled"))
    assert table.ask(NAME, table.request(1)) is not None
    made: LabelHome = table.homes[NAME]
    coordinator = Identity.generate()
    signed = Agreement("test", coordinator.public_key, table.agreement.members)
    enrolments = [
        Enrolment.sign(
            Identity.load(each.identity_file),
            name=each.name,
            node_key=NodeKey.load(each.node_key_file).public,
            federation="test",
        )
        for each in (table.homes[member.name] for member in signed.members)
    ]
    Invitation.sign(coordinator, signed, enrolments, superlink="127.0.0.1:9092", certificate=certificate()).write(
        made.invitation_file
    )
    identity, node = Identity.load(made.identity_file), NodeKey.load(made.node_key_file)
    Enrolment.sign(identity, name=NAME, node_key=node.public, federation="test").write(made.root / "enrolment.json")
    (made.root / "locked").mkdir()
    identity.save(made.root / "locked/identity.key", passphrase=PASSPHRASE)
    node.save(made.root / "locked/node.key", passphrase=PASSPHRASE)
    (made.root / "music").mkdir()
    (made.root / "music/catalogue.csv").write_text("path,style,artist,consent\na.wav,blues,One,style\nb.wav,techno,,\n")
    (made.root / "bundle.fab").write_bytes(bundle())
    made.policy_file.write_text(policy_text(Policy()))
    for name, data in (("passphrase", PASSPHRASE + b"\n"),):
        (made.root / name).write_bytes(data)
        (made.root / name).chmod(0o600)
    return made


@pytest.fixture
def home(_filled: LabelHome, tmp_path: Path) -> LabelHome:
    """A copy of it for one test."""
    return LabelHome.open(shutil.copytree(_filled.root, tmp_path / NAME))


def located(home: LabelHome, file: File) -> Path:
    return next(home.root.glob(file.place))


def content(home: LabelHome) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in home.root.rglob("*") if path.is_file()}


def damaged(draw: Any, valid: bytes, text: str) -> bytes:
    """Bytes of no kind; or what was valid with some of it cut out, put in, turned over or exchanged."""
    ways = ["other", "cut", "insert", "flip", *([text] if text else [])]
    way = draw(st.sampled_from(ways))
    if way == "other":
        return draw(st.binary(max_size=200))
    if way in ("json", "toml"):
        return exchanged(draw, valid, way)
    start = draw(st.integers(0, len(valid)))
    if way == "cut":
        return valid[:start] + valid[draw(st.integers(start, len(valid))) :]
    if way == "insert":
        return valid[:start] + draw(st.binary(min_size=1, max_size=20)) + valid[start:]
    changed = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        changed[draw(st.integers(0, len(valid) - 1))] ^= draw(st.integers(1, 255))
    return bytes(changed)


def exchanged(draw: Any, valid: bytes, text: str) -> bytes:
    """The same structure with a value of another kind, one that is missing, or one too many."""
    values = json.loads(valid) if text == "json" else tomllib.loads(valid.decode())
    table = values
    while (inner := [value for value in table.values() if isinstance(value, dict) and value]) and draw(st.booleans()):
        table = draw(st.sampled_from(inner))
    name = draw(st.sampled_from(sorted(table)) | st.text(max_size=8))
    if draw(st.booleans()):
        table.pop(name, None)
    else:
        table[name] = draw(VALUES)
    if text == "json":
        return json.dumps(values).encode()
    try:
        return tomli_w.dumps(values).encode()
    except (TypeError, ValueError):  # TOML has no such value
        return valid


@pytest.mark.parametrize("name", FILES)
def test_a_whole_file_is_read(home: LabelHome, name: str) -> None:
    """Else damage to it would show nothing."""
    assert FILES[name].read(home)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_gets_a_clear_error_and_changes_nothing(home: LabelHome, name: str) -> None:
    file = FILES[name]
    path, expected = located(home, file), file.read(home)
    valid = path.read_bytes()

    @FUZZ
    @given(st.data())
    def check(data: st.DataObject) -> None:
        path.write_bytes(damaged(data.draw, valid, file.text))
        before = content(home)
        found, told = None, None
        try:
            found = file.read(home)
        except SottovoceError as error:
            told = f"{error.message} {error.hint}"
        assert content(home) == before
        if told is not None:
            assert len(told) > 20
            assert str(home.root) not in told
        elif file.sealed:
            assert found == expected

    check()


@pytest.mark.parametrize("content", ["[" * 60_000, '{"a":' * 30_000, "n_min = " + "9" * 5_000, "9" * 5_000])
@pytest.mark.parametrize("name", [name for name, file in FILES.items() if file.text])
def test_nested_or_long_beyond_any_use_is_an_error_too(home: LabelHome, name: str, content: str) -> None:
    located(home, FILES[name]).write_text(content)
    with pytest.raises(SottovoceError):
        FILES[name].read(home)
