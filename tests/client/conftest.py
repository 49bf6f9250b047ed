"""A label's home, an agreement that names it, and the program as a user runs it."""

import json
from pathlib import Path

import pytest
import tomli_w
from flwr.cli.build import build_fab_from_files
from typer.testing import CliRunner

from sottovoce.cli import app
from sottovoce.features.extract import default_spec
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.enrolment import Enrolment
from sottovoce.federation.identity import Identity
from sottovoce.federation.invitation import Invitation
from sottovoce.federation.log import Log
from sottovoce_client.flower.bundle_check import APP
from sottovoce_client.home.confirmations import confirm
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.node_key import NodeKey

NAME = "blue-note"
CERTIFICATE = Path(__file__).parent / "authority.pem"


@pytest.fixture
def label_home(tmp_path):
    return LabelHome.create(tmp_path / "home", name=NAME)


@pytest.fixture
def coordinator():
    return Identity.generate()


@pytest.fixture
def identities(label_home):
    """Identities of the agreement's members, by name."""
    return {NAME: label_home.identity(), **{f"label-{n}": Identity.generate() for n in range(3)}}


@pytest.fixture
def agreement(identities, coordinator):
    return Agreement("test", coordinator.public_key, tuple(enrol(*each).member for each in identities.items()))


def enrol(name, identity, federation="test"):
    return Enrolment.sign(identity, name=name, node_key=NodeKey.generate().public, federation=federation)


@pytest.fixture
def confirmed(label_home, agreement):
    """The home's people have confirmed all other members."""
    confirm(label_home, label_home.identity(), "test", agreement.members[1:])


@pytest.fixture
def invite(tmp_path, coordinator, agreement, identities):
    """Writes a signed federation.toml, of this agreement or another one among the same labels and further ones."""
    logs = {}

    def write(chosen=agreement, signer=coordinator, name="federation.toml", confirmations=(), also=()) -> Path:
        known = {each.public_key: each for each in (*identities.values(), *also)}
        enrolments = [enrol(each.name, known[each.public_key], chosen.federation) for each in chosen.members]
        Invitation.sign(
            signer,
            chosen,
            enrolments,
            superlink="127.0.0.1:9092",
            certificate=CERTIFICATE.read_text(),
            confirmations=confirmations,
            log=lambda entry: logs.setdefault(signer.public_key, Log()).append(entry, signer),
        ).write(tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def run(label_home):
    """Runs `sottovoce label …` on the home; (exit code, stdout, stderr)."""

    def invoke(*arguments, home=True, **options):
        where = ["--home", str(label_home.root)] if home else []
        result = CliRunner().invoke(app, ["label", *map(str, arguments), *where], **options)
        assert not isinstance(result.exception, Exception) or isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        return result.exit_code, result.stdout, result.stderr

    return invoke


@pytest.fixture
def as_json(run):
    def invoke(*arguments):
        code, out, _ = run(*arguments, "--json")
        return code, json.loads(out)

    return invoke


@pytest.fixture
def config(run_configuration):
    return run_configuration(
        classes=("blues", "waltz"), feature_spec=default_spec().digest, rounds=4, batch_size=16, epsilon=4.0
    )


@pytest.fixture
def a_bundle():
    """A bundle that holds only configuration."""

    def make(files=()):
        data = tomli_w.dumps(
            {
                "project": {"name": "sottovoce", "version": "0.1.0", "dependencies": []},
                "tool": {
                    "flwr": {
                        "app": {"publisher": "sottovoce", "components": {"serverapp": "any:app", "clientapp": APP}}
                    }
                },
            }
        ).encode()
        return build_fab_from_files({"pyproject.toml": data, **dict(files)})[0]

    return make
