"""The coordinator's home: what it makes, what it refuses to overwrite, and what it signs."""

import ssl
import stat

import pytest
from cryptography import x509

from sottovoce.errors import ConfigurationError
from sottovoce.federation.enrolment import Enrolment
from sottovoce.federation.identity import Identity
from sottovoce.federation.invitation import Invitation
from sottovoce.run.configuration import Trust
from sottovoce_server.home.certificates import covers
from sottovoce_server.home.coordinator_home import ServerHome


def test_secrets_are_readable_by_the_owner_only(home):
    home.sign()
    assert stat.S_IMODE(home.root.stat().st_mode) == 0o700
    secret = [
        home.signing_key_file,
        home.authority_key_file,
        home.server_key_file,
        home.token_file,
        home.superexec_file,
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}
    assert home.token() not in repr(home)


def test_nothing_is_overwritten(empty):
    before = {path: path.read_bytes() for path in empty.root.iterdir() if path.is_file()}
    with pytest.raises(ConfigurationError, match="already exists"):
        ServerHome.create(empty.root, federation="other", address="other.example:1")
    assert {path: path.read_bytes() for path in empty.root.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("address", ["", "host", "host:", ":1", "host:0", "host:65536", "host:²"])
def test_an_address_is_host_and_port_or_nothing_is_made(tmp_path, address):
    with pytest.raises(ConfigurationError, match="not a valid address"):
        ServerHome.create(tmp_path / "server", federation="isles", address=address)
    assert list(tmp_path.iterdir()) == []


def test_the_signed_agreement_is_what_labels_read(home):
    made = home.sign()
    read = Invitation.read(home.invitation_file)
    assert read == made
    assert [member.name for member in read.agreement.members] == ["east", "north", "south"]
    assert read.superlink == "isles.example:9092"
    assert read.agreement.coordinator_key == home.identity().public_key


def test_the_template_has_a_comment_for_every_setting(empty):
    lines = empty.settings_file.read_text().splitlines()
    settings = [index for index, line in enumerate(lines) if line and not line.startswith("#")]
    assert len(settings) == 6
    assert all(lines[index - 1].startswith("# ") for index in settings)


def test_too_few_labels_make_no_agreement(empty, enrolment_of):
    empty.enrol(enrolment_of("north"))
    with pytest.raises(ConfigurationError, match="1 labels are enrolled"):
        empty.sign()
    assert not empty.invitation_file.exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("n_min = 0", "n_min = 2", "hides nobody"),
        ("n_min = 0", "n_min = true", "needs 'n_min' as int"),
        ("n_min = 0", "", "needs 'n_min'"),
        ("n_min = 0", "n_min = ", "cannot be read"),
        ('noise = "local"', 'noise = "loud"', "noise = 'loud'"),
        ("min_honest = 1", "min_honest = 2", "with local noise it is 1"),
        ("min_honest = 1", "min_honest = 1\nextra = 1", "unknown field 'extra'"),
        ("isles.example:9092", "isles.example", "not a valid address"),
    ],
)
def test_settings_that_are_wrong_are_named(home, old, new, message):
    home.settings_file.write_text(home.settings_file.read_text().replace(old, new))
    with pytest.raises(ConfigurationError, match=message):
        home.sign()
    assert not home.invitation_file.exists()


def test_a_sum_needs_a_majority_unless_said_otherwise(home, enrolment_of):
    for name in ("up", "west"):
        home.enrol(enrolment_of(name))
    assert "n_min = 0" in home.settings_file.read_text()
    assert home.sign().agreement.n_min == 3
    for name in ("down", "far"):
        home.enrol(enrolment_of(name))
    assert home.sign().agreement.n_min == 4


def test_the_same_label_again_changes_nothing(home):
    known = home.enrolled()[0]
    before = home.journal().path.read_bytes()
    assert home.enrol(known) is False
    assert home.journal().path.read_bytes() == before


def test_a_name_or_key_of_another_label_is_refused(home, enrolment_of):
    with pytest.raises(ConfigurationError, match="already enrolled"):
        home.enrol(enrolment_of("north"))
    stolen = Enrolment.sign(Identity.generate(), name="west", node_key=home.enrolled()[0].node_key, federation="isles")
    with pytest.raises(ConfigurationError, match="uses a key of 'east'"):
        home.enrol(stolen)
    assert len(home.enrolled()) == 3


def test_the_certificate_is_for_the_address_and_comes_from_the_authority(home):
    home.sign()
    assert covers(home.server_file, "isles.example")
    assert covers(home.server_file, "127.0.0.1")
    assert not covers(home.server_file, "evil.example")
    authority = x509.load_pem_x509_certificate(home.authority_file.read_bytes())
    certificate = x509.load_pem_x509_certificate(home.server_file.read_bytes())
    certificate.verify_directly_issued_by(authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home.server_file, home.server_key_file)


def test_another_address_gets_another_certificate_and_the_same_one_keeps_it(home):
    home.sign()
    first = home.server_file.read_bytes()
    home.sign()
    assert home.server_file.read_bytes() == first
    home.settings_file.write_text(home.settings_file.read_text().replace("isles.example", "new.example"))
    home.sign()
    assert covers(home.server_file, "new.example")


def test_a_folder_without_a_home_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="no coordinator's home"):
        ServerHome.open(tmp_path)


def test_settings_by_their_former_names_are_read(home):
    text = home.settings_file.read_text()
    home.settings_file.write_text(text.replace("min_honest = 1", "honest = 2").replace('"local"', '"shared"'))
    agreement = home.sign().agreement
    assert (agreement.noise, agreement.min_honest) == (Trust.DISTRIBUTED, 2)


def test_an_empty_folder_stays_where_no_home_is_made(tmp_path):
    (tmp_path / "server").mkdir()
    with pytest.raises(ConfigurationError):
        ServerHome.create(tmp_path / "server", federation="isles", address="nowhere")
    assert (tmp_path / "server").is_dir()
