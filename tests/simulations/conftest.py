import subprocess
import sys

import pytest

from sottovoce_simulations.synthesis import synthesise


@pytest.fixture(scope="session")
def sottovoce():
    """Runs a command as a user does."""

    def run(*arguments):
        command = [sys.executable, "-m", "sottovoce", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=580, check=False)

    return run


@pytest.fixture(scope="session")
def small_catalogues(tmp_path_factory):
    """Of three labels, none of which has too few tracks."""
    folder = tmp_path_factory.mktemp("music") / "catalogues"
    synthesise(folder, labels=3, tracks=50, seconds=(5, 5))
    return folder
