from dataclasses import replace

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from sottovoce.cli import app
from sottovoce.features.extract import default_spec
from sottovoce.federation.agreement import Agreement, Member
from sottovoce.federation.identity import Identity
from sottovoce.models import discovery
from sottovoce.models.parameters import initial
from sottovoce.release.write import Provenance, write

STYLES = ("fugue", "reel", "tango")
RATE = 22_050


@pytest.fixture(scope="session")
def coordinator():
    return Identity.generate()


@pytest.fixture(scope="session")
def agreement(coordinator):
    members = tuple(Member(name, Identity.generate().public_key) for name in ("east", "north", "south"))
    return Agreement("isles", coordinator.public_key, members)


@pytest.fixture(scope="session")
def provenance(agreement, run_configuration):
    spec = default_spec()
    config = run_configuration(classes=STYLES, feature_spec=spec.digest)
    return Provenance(config, spec, agreement, bytes(16), 3, [(8.0, 1e-5)] * 3, start="none", seeded=False)


@pytest.fixture(scope="session")
def release(tmp_path_factory, provenance, coordinator):
    """A release whose model tells styles apart at random, but always in the same way."""
    family = discovery.family("style", "svm")
    size = initial(family, provenance.spec, len(STYLES), 0).size
    parameters = np.random.default_rng(3).normal(scale=0.5, size=size).astype(np.float32)
    directory = tmp_path_factory.mktemp("published") / "release"
    write(directory, provenance, parameters, coordinator, name="isles-style")
    return directory


def tone(seed, seconds):
    """A chord with a beat, different for each seed."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    notes = sum(np.sin(2 * np.pi * pitch * time) for pitch in rng.uniform(100, 2_000, size=4))
    beat = 0.6 + 0.4 * np.sign(np.sin(2 * np.pi * rng.uniform(1, 4) * time))
    return (0.1 * notes * beat + 0.01 * rng.normal(size=time.size)).astype(np.float32)


@pytest.fixture(scope="session")
def music(tmp_path_factory):
    """A folder of STYLE/track, in several formats and depths."""
    root = tmp_path_factory.mktemp("music")
    paths = ("fugue/a.wav", "fugue/deep/er/b.flac", "reel/c.ogg", "reel/d.wav", "tango/e.wav", "tango/f.flac")
    for seed, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / path, tone(seed, 8.5 + seed), RATE)
    return root


@pytest.fixture
def unusable(tmp_path):
    """Files that cannot be used, by a part of the reason."""
    (tmp_path / "notes.wav").write_text("these are words, not music\n" * 50)
    (tmp_path / "nothing.wav").write_bytes(b"")
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE * 9, np.float32), RATE)
    soundfile.write(tmp_path / "short.wav", tone(0, 0.5), RATE)
    return {
        "notes.wav": "not audio in a supported format",
        "nothing.wav": "The file is empty",
        "silent.wav": "silent",
        "short.wav": "shorter than one segment",
    }


@pytest.fixture
def sottovoce():
    """Run the program in this process, 80 columns wide and without colours."""
    runner = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"})

    def run(*arguments):
        return runner.invoke(app, [str(argument) for argument in arguments], prog_name="sottovoce")

    return run


@pytest.fixture(scope="session")
def maker(tmp_path_factory, provenance, coordinator):
    """A release that generates, untrained."""
    spec = discovery.spec_of("generator", "rnn")
    config = provenance.config.changed(task="generator", family="rnn", feature_spec=spec.digest)
    vector = initial(discovery.family("generator", "rnn"), spec, len(STYLES), 1)
    folder = tmp_path_factory.mktemp("maker") / "release"
    write(folder, replace(provenance, config=config, spec=spec), vector, coordinator, name="isles-maker")
    return folder
