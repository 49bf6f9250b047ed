"""`sottovoce label init`: a home that is whole, its owner's alone, and never written over."""

import json
import stat

import pytest

from sottovoce.errors import ConfigurationError
from sottovoce.federation.enrolment import Enrolment
from sottovoce.federation.identity import Identity
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.node_key import NodeKey, passphrase_of_file
from sottovoce_client.home.policy import Policy

SECRET = "correct horse"


def test_a_new_home_is_whole_and_its_owners_alone(run, tmp_path):
    root = tmp_path / "new"
    code, out, _ = run("init", "verve", "--federation", "test", "--home", root, home=False)
    assert code == 0
    home = LabelHome.open(root)
    assert home.name == "verve"
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    for file in root.iterdir():
        assert file.name == "enrolment.json" or stat.S_IMODE(file.stat().st_mode) in (0o600, 0o700), file
    assert Policy.from_toml(home.policy_file) == Policy()
    with Ledger(home.ledger_file) as ledger:
        assert ledger.rows() == ()
    enrolment = Enrolment.read(root / "enrolment.json")
    assert enrolment.name == "verve"
    assert enrolment.identity_key == home.identity().public_key
    assert enrolment.node_key == home.node_key().public
    assert str(root / "enrolment.json") in out.replace("\n", "")


def test_a_policys_rules_have_a_comment_each(label_home):
    lines = label_home.policy_file.read_text().splitlines()
    rules = [number for number, line in enumerate(lines) if line and not line.startswith("#")]
    assert len(rules) == len(Policy.__dataclass_fields__)
    assert all(lines[number - 1].startswith("# ") for number in rules)


def test_nothing_existing_is_overwritten(run, label_home, tmp_path):
    before = {file: file.read_bytes() for file in label_home.root.rglob("*") if file.is_file()}
    code, _, err = run("init", "verve")
    assert code == 2
    assert "already exists" in err
    assert {file: file.read_bytes() for file in label_home.root.rglob("*") if file.is_file()} == before
    other = tmp_path / "other"
    other.mkdir()
    (other / "song.wav").touch()
    code, _, err = run("init", "verve", "--home", other, home=False)
    assert code == 2
    assert "not empty" in err
    assert [file.name for file in other.iterdir()] == ["song.wav"]


def test_a_wrong_name_leaves_nothing(run, tmp_path):
    code, _, err = run("init", "Blue Note", "--home", tmp_path / "new", home=False)
    assert code == 2
    assert "valid label name" in err
    assert not (tmp_path / "new").exists()


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Ledger, "create", full)
    with pytest.raises(OSError, match="No space"):
        LabelHome.create(tmp_path / "new", name="verve")
    assert list(tmp_path.iterdir()) == []


def test_keys_are_encrypted_with_a_passphrase(run, tmp_path, monkeypatch):
    file = tmp_path / "passphrase"
    file.write_text(f"{SECRET}\n")
    file.chmod(0o600)
    root = tmp_path / "new"
    code, out, err = run("init", "verve", "--federation", "test", "--home", root, "--passphrase-file", file, home=False)
    assert code == 0
    assert SECRET not in out + err
    home = LabelHome.open(root)
    for key in (home.identity_file, home.node_key_file):
        assert b"ENCRYPTED PRIVATE KEY" in key.read_bytes()
    with pytest.raises(ConfigurationError, match="needs a passphrase"):
        home.identity()
    monkeypatch.setenv("SOTTOVOCE_PASSPHRASE", "wrong")
    with pytest.raises(ConfigurationError, match="cannot be decrypted"):
        home.node_key()
    monkeypatch.setenv("SOTTOVOCE_PASSPHRASE", SECRET)
    assert Enrolment.read(root / "enrolment.json").identity_key == home.identity().public_key
    assert SECRET not in repr(home.identity()) + repr(home.node_key())


def test_a_passphrase_that_others_can_read_is_refused(run, tmp_path):
    file = tmp_path / "passphrase"
    file.write_text(SECRET)
    file.chmod(0o644)
    code, _, err = run("init", "verve", "--home", tmp_path / "new", "--passphrase-file", file, home=False)
    assert code == 2
    assert "read by others" in err
    assert not (tmp_path / "new").exists()


def test_without_a_terminal_nobody_is_asked(run, tmp_path):
    code, _, err = run("init", "verve", "--encrypt", "--home", tmp_path / "new", home=False)
    assert code == 2
    assert "--passphrase-file" in err


def test_flower_reads_the_node_key(label_home):
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key

    private = load_ssh_private_key(label_home.node_key_file.read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert load_ssh_public_key(label_home.node_key().public.encode()) == private.public_key()


@pytest.mark.parametrize("key", ["identity", "node_key"])
def test_a_key_that_others_can_read_is_refused(label_home, key):
    getattr(label_home, f"{key}_file").chmod(0o640)
    with pytest.raises(ConfigurationError, match="read by others"):
        getattr(label_home, key)()


@pytest.mark.parametrize(
    ("mode", "folder", "taken"),
    [
        (0o440, ".", True),  # what stat says of a file that an access list opens to one user
        (0o444, ".", False),
        (0o440, "elsewhere", False),
    ],
)
def test_a_credential_of_systemd_is_private_though_its_mode_names_the_group(tmp_path, monkeypatch, mode, folder, taken):
    file = tmp_path / "passphrase"
    file.write_text("correct horse\n")
    file.chmod(mode)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / folder))
    if taken:
        assert passphrase_of_file(file) == b"correct horse"
    else:
        with pytest.raises(ConfigurationError, match="read by others"):
            passphrase_of_file(file)


@pytest.mark.parametrize("field", ["name", "identity_key", "node_key", "federation", "signature"])
def test_a_changed_enrolment_is_refused(label_home, field, tmp_path):
    mine = Enrolment.sign(label_home.identity(), name="verve", node_key=label_home.node_key().public, federation="test")
    other = Enrolment.sign(Identity.generate(), name="blue", node_key=NodeKey.generate().public, federation="other")
    values = {**mine.to_json(), field: other.to_json()[field]}
    file = tmp_path / "enrolment.json"
    file.write_text(json.dumps(values))
    with pytest.raises(ConfigurationError):
        Enrolment.read(file)


def test_the_home_is_found_by_the_environment(run, label_home, monkeypatch):
    monkeypatch.setenv("SOTTOVOCE_HOME", str(label_home.root))
    code, out, _ = run("status", home=False)
    assert code == 0
    assert label_home.name in out


def test_a_home_that_is_not_there(run, tmp_path):
    code, _, err = run("status", "--home", tmp_path / "nowhere", home=False)
    assert code == 2
    assert "label init" in err
