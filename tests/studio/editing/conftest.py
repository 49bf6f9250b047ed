import numpy as np
import pytest
from typer.testing import CliRunner

from sottovoce.cli import app


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory, monkeypatch):
    """No test touches the user's signing key."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / "data"))


@pytest.fixture
def sottovoce():
    runner = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"})
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments], prog_name="sottovoce")


def _chord(seconds, rate, channels=1):
    """A chord, a little higher in each channel: `[frames, channels]`."""
    times = np.arange(round(seconds * rate)) / rate
    return np.stack(
        [sum(np.sin(2 * np.pi * f * (1 + c / 10) * times) for f in (220, 277.2, 329.6)) / 6 for c in range(channels)], 1
    )


@pytest.fixture(scope="session")
def chord():
    return _chord
