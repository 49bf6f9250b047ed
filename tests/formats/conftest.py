"""Homes as earlier versions of masked rounds left them, and the program as their people run it now."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sottovoce.cli import app
from sottovoce_client.home.node_key import NodeKey
from sottovoce_server.home.certificates import make_authority

FORMER = Path(__file__).parent


class Former:
    """A label's home, a coordinator's, and what lies in them.

    Args:
        root: where they are.
    """

    def __init__(self, root):
        self.label, self.server = root / "east", root / "server"
        (state,) = (self.label / "runs").glob("*.json")
        (release,) = self.server.glob("runs/*/release")
        self.broken_off, self.release, self.agreement = state.stem, release, self.server / "signed" / "federation.toml"
        self.root = root

    def run(self, *arguments):
        """Exit code, stdout and stderr of `sottovoce …` in the home that its first word names."""
        homes = {"label": ["--home", self.label], "server": ["--home", self.server]}
        words = [str(each) for each in (*arguments, *homes.get(arguments[0], []))]
        done = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
        assert isinstance(done.exception, (SystemExit, type(None))), done.exception
        return done.exit_code, " ".join(done.stdout.split()), " ".join(done.stderr.split())


@pytest.fixture
def former(tmp_path, monkeypatch):
    """Of protocol 1, which is refused."""
    return homes_of("protocol_1", tmp_path, monkeypatch)


@pytest.fixture
def one_back(tmp_path, monkeypatch):
    """Of protocol 2, which is read."""
    return homes_of("protocol_2", tmp_path, monkeypatch)


def homes_of(version, tmp_path, monkeypatch):
    monkeypatch.setattr("sottovoce.release.logged.user_state_path", lambda _: tmp_path / "state")
    root = shutil.copytree(FORMER / version, tmp_path / "former")
    for path in root.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    NodeKey.generate().save(root / "east" / "node.key")  # keys in PEM are in no repository
    make_authority(root / "server" / "authority.key", root / "server" / "authority.pem")
    home = json.loads((root / "east" / "home.json").read_text())
    here = {"cache": str(root / "east" / "cache"), "catalogues": []}  # their music is not in the repository
    (root / "east" / "home.json").write_text(json.dumps(home | here))
    return Former(root)
