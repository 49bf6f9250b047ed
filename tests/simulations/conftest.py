import subprocess
import sys

import pytest
from typer.testing import CliRunner

from sottovoce.cli import app
from sottovoce_simulations.synthesis import synthesise

TRACKS = 30


@pytest.fixture(scope="session")
def sottovoce():
    """Runs a command as a user does."""

    def run(*arguments):
        command = [sys.executable, "-m", "sottovoce", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=580, check=False)

    return run


@pytest.fixture(scope="session")
def here():
    """Runs a command in this process, which has loaded already what takes each new one seconds."""
    runner = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"})
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments], prog_name="sottovoce")


@pytest.fixture(scope="session")
def small_catalogues(tmp_path_factory):
    """Of three labels, none of which has too few tracks."""
    folder = tmp_path_factory.mktemp("music") / "catalogues"
    synthesise(folder, labels=3, tracks=TRACKS, seconds=(5, 5), workers=1)
    return folder
