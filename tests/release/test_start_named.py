"""A release names what its run started from."""

import hashlib
import json

import pytest

from sottovoce.commands.release import release as commands
from sottovoce.errors import ConfigurationError, ReleaseError
from sottovoce.models.initialisation import init_name
from sottovoce.release.check import check
from sottovoce.release.manifest import MANIFEST_FILE
from sottovoce.release.manifest_reading import read_manifest
from sottovoce.run.configure import configure_run
from sottovoce.run.request import RunRequest


@pytest.fixture
def config():
    return configure_run(RunRequest(task="style", family="svm", seed=1), classes=("reel", "tango"), labels=3)


def test_by_default_where_nothing_is_shipped_nothing_is_named(config):
    assert init_name(config) == init_name(config, "none") == "none"


def test_what_is_shipped_is_named_public():
    config = configure_run(RunRequest(task="generator", family="vae", seed=1), classes=("reel", "tango"), labels=3)
    assert init_name(config) == init_name(config, "public") == "public"


def test_another_release_is_named_by_its_digest(config, publish):
    folder = publish()
    assert init_name(config, str(folder)) == hashlib.sha256((folder / MANIFEST_FILE).read_bytes()).hexdigest()


def test_what_is_no_release_of_this_model_is_not_named(config, publish, tmp_path):
    with pytest.raises(ConfigurationError, match="No release"):
        init_name(config, str(tmp_path / "nowhere"))
    other = configure_run(RunRequest(task="style", family="cnn", seed=1), classes=("reel", "tango"), labels=3)
    with pytest.raises(ConfigurationError, match="cannot start from"):
        init_name(other, str(publish()))


def test_the_manifest_keeps_it_and_refuses_anything_else(publish, provenance_of):
    digest = "5e" * 32
    raw = check(publish(start=digest)).raw
    assert read_manifest(raw).start == digest
    for wrong in ("", "somewhere", "5e" * 31, "5E" * 32):
        with pytest.raises(ReleaseError, match="start"):
            read_manifest(json.dumps(json.loads(raw) | {"start": wrong}).encode())


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("none", "random parameters"),
        ("public", "public audio"),
        ("5e" * 32, "whose own privacy statement covers its training data"),
    ],
)
def test_it_is_shown(publish, provenance_of, start, words):
    from typer.testing import CliRunner

    shown = CliRunner().invoke(commands, ["show", str(publish(start=start))], env={"COLUMNS": "300"})
    assert words in " ".join(shown.output.split())
