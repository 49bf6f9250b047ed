"""A label with a synthetic catalogue, music that is not in it, and copies of what is."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from python_stretch import Signalsmith
from scipy.signal import resample_poly
from typer.testing import CliRunner

from sottovoce.audio.decoding import read
from sottovoce.cli import app
from sottovoce.federation.agreement import Agreement, Member
from sottovoce.federation.identity import Identity
from sottovoce.models import discovery
from sottovoce.models.parameters import initial
from sottovoce.release.load import load
from sottovoce.release.write import Provenance, write
from sottovoce.run.configure import configure_run
from sottovoce.run.request import RunRequest
from sottovoce_client.catalogue import scan
from sottovoce_client.copy_audit import samples
from sottovoce_client.data.preparation import usable_tracks
from sottovoce_client.data.split import split_of
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.policy import Policy
from sottovoce_client.home.policy_template import policy_text
from sottovoce_simulations.synthesis import synthesise

STYLES = ("blues", "chorale", "waltz")
RATE = 22_050
SECONDS = 10.0
FEW = 28
NAME = "blue-note"
RUN = bytes(range(16))


def _music(folder: Path, tracks: int, seed: int) -> Path:
    made = synthesise(
        folder, labels=1, tracks=tracks, seconds=(11, 13), seed=seed, styles=STYLES, skew=100.0, workers=1
    )
    return folder / made.labels[0]


def _consenting(catalogue: Path) -> Path:
    sheet = catalogue / "catalogue.csv"
    with sheet.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    _write_sheet(sheet, [{**row, "consent": "generator"} for row in rows])
    return catalogue


def _write_sheet(sheet: Path, rows: list[dict[str, str]]) -> None:
    with sheet.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="session")
def catalogue(made_once):
    folder = made_once("copied catalogue", lambda folder: _consenting(_music(folder / "music", 48, seed=5)))
    return next((folder / "music").glob("label-*"))


@pytest.fixture(scope="session")
def few_tracks(made_once, catalogue):
    """A part of it, with hardly more tracks than an audit needs; one takes a fifth of the time."""

    def fill(folder):
        with (catalogue / "catalogue.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))[:FEW]
        for row in rows:
            (folder / row["path"]).parent.mkdir(parents=True, exist_ok=True)
            (folder / row["path"]).hardlink_to(catalogue / row["path"])
        _write_sheet(folder / "catalogue.csv", rows)

    return made_once("few copied tracks", fill)


@pytest.fixture(scope="session")
def strangers(made_once):
    """Ten seconds each of tracks by artists who are in no catalogue, `[samples]` at `RATE`."""

    def fill(folder):
        music = _music(folder / "music", 18, seed=6)
        tracks = scan(music, index=music / ".index.sqlite", workers=1).tracks
        strangers_audio = [read(track.path, RATE).numpy()[: round(SECONDS * RATE)] for track in tracks]
        np.savez(folder / "heard.npz", *strangers_audio)

    with np.load(made_once("strangers", fill) / "heard.npz") as strangers_audio:
        return list(strangers_audio.values())


@pytest.fixture(scope="session")
def policy():
    return Policy(
        tasks=frozenset({"generator"}), families=frozenset({"rnn"}), purposes=frozenset({"generator"}), audit_samples=2
    )


@pytest.fixture(scope="session")
def cache(made_once):
    """What is computed once about `catalogue`."""
    return made_once("copied cache", lambda _: None)


@pytest.fixture
def home_of(tmp_path, policy, cache):
    def make(*catalogues, cache=cache, policy=policy, name="home"):
        return LabelHome.create(
            tmp_path / name,
            name=NAME,
            catalogues=catalogues,
            cache=cache,
            split_key=b"a key that holds out enough",
            policy=policy_text(policy),
        )

    return make


@pytest.fixture
def home(home_of, catalogue):
    return home_of(catalogue)


@pytest.fixture
def split(home):
    """What the label trains on, and what it holds out."""
    return split_of(home, usable_tracks(home, "generator"))


@pytest.fixture(scope="session")
def coordinator():
    return Identity.generate()


@pytest.fixture(scope="session")
def config():
    announced = configure_run(RunRequest(task="generator", family="rnn", rounds=2, seed=0), classes=STYLES, labels=3)
    return announced.changed(local_steps=1, batch_size=8, update_clip=1.0, ring_bits=32)


@pytest.fixture
def publish(tmp_path, coordinator, config):
    """Publishes a release of a run: `publish(agreement, run=…, config=…, vector=…)`."""

    def make(agreement=None, *, run=RUN, config=config, vector=None, name="release", title="music"):
        spec = discovery.spec_of(config.task, config.family)
        if vector is None:
            vector = initial(discovery.family(config.task, config.family), spec, len(config.classes), 1)
        if agreement is None:
            others = (Member(f"label-{number}", Identity.generate().public_key) for number in range(3))
            agreement = Agreement("test", coordinator.public_key, tuple(others))
        provenance = Provenance(config, spec, agreement, run, 2, [(8.0, 1e-5)] * 3, start="none", seeded=False)
        write(tmp_path / name, provenance, vector, coordinator, name=title)
        return tmp_path / name

    return make


@pytest.fixture
def release(publish):
    return load(publish())


@pytest.fixture
def makes(monkeypatch):
    """Puts audio, piece after piece in turn, in the place of what a release would make."""

    def use(pieces):
        count = iter(range(10_000))
        monkeypatch.setattr(samples, "generate", lambda *_, **__: pieces[next(count) % len(pieces)])

    return use


def _noisy(audio, decibels):
    noise = np.random.default_rng(0).standard_normal(len(audio)).astype(np.float32)
    return audio + noise * np.sqrt(np.mean(audio**2)) * 10 ** (-decibels / 20)


def _through(audio, rate):
    return resample_poly(resample_poly(audio, rate, RATE), RATE, rate)


def _stretched(audio, *, faster=1.0, semitones=0.0):
    stretch = Signalsmith.Stretch()
    stretch.preset(1, RATE)
    stretch.timeFactor = faster
    stretch.setTransposeSemitones(semitones)
    return stretch.process(np.ascontiguousarray(audio[None], dtype=np.float32))[0]


COPIES = {
    "exact": lambda audio: audio,
    "resampled": lambda audio: _through(audio, 16_000),
    "a semitone higher": lambda audio: _stretched(audio, semitones=1),
    "a semitone lower": lambda audio: _stretched(audio, semitones=-1),
    "5 % slower": lambda audio: _stretched(audio, faster=1 / 1.05),
    "5 % faster": lambda audio: _stretched(audio, faster=1.05),
    "under noise": lambda audio: _noisy(audio, 10.0),
    "quiet": lambda audio: 0.02 * audio,
}


@pytest.fixture(params=COPIES, ids=lambda name: name.replace(" ", "-"))
def copied(request):
    """A way to copy audio."""
    return COPIES[request.param]


@pytest.fixture
def run():
    """Runs `sottovoce …`; (exit code, stdout, stderr)."""

    def invoke(*arguments):
        result = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, [str(each) for each in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        return result.exit_code, result.stdout, result.stderr

    return invoke


@pytest.fixture
def empty_cache(tmp_path):
    yield tmp_path / "own-cache"
    shutil.rmtree(tmp_path / "own-cache", ignore_errors=True)
