import numpy as np
import pytest

from sottovoce.studio.provenance.origin import Origin
from sottovoce.studio.provenance.signing_key import SigningKey

RATE = 22_050
DIGEST = "0123456789abcdef" * 4


def _music(seconds=12.0, rate=RATE, channels=1, seed=1):
    """Broken chords of plucked strings over a hiss, different for each seed: `[channels, n]` float32."""
    rng = np.random.default_rng(seed)
    count = round(seconds * rate)
    samples = np.zeros((channels, count))
    for start in range(0, count, rate // 4):
        length = min(count - start, 2 * rate)
        time = np.arange(length) / rate
        pitch = 110 * 2 ** (rng.integers(0, 24) / 12)
        # Its partials are powers of the first one: each dies away half as fast again, at a multiple of its frequency.
        first = np.exp((2j * np.pi * pitch - 0.5) * time)
        partial, string = first.copy(), first.imag.copy()
        for k in range(2, min(24, int(np.ceil(0.45 * rate / pitch)))):
            partial *= first
            string += partial.imag / k
        string *= np.exp(-1.5 * time)
        samples[:, start : start + length] += 0.08 * rng.uniform(0.3, 1.0, size=(channels, 1)) * string
    return (samples + 0.004 * rng.normal(size=samples.shape)).astype(np.float32)


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """No test touches the user's key."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    """A folder with a user's own key."""
    return tmp_path_factory.mktemp("signing")


@pytest.fixture(scope="session")
def key(keys):
    return SigningKey.own(keys)


@pytest.fixture(scope="session")
def music():
    return _music


@pytest.fixture(scope="session")
def tune():
    return _music()


@pytest.fixture(scope="session")
def generated():
    return Origin("generate", "isles-music", DIGEST, {"style": "reel", "seconds": 12.0})


@pytest.fixture(scope="session")
def repaired():
    return Origin("repair", "isles-editor", DIGEST, {"method": "cnn"})
