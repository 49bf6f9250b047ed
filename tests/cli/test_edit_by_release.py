"""`sottovoce edit` with a release: filling, denoising, extending, restyling, and what is recorded about it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from sottovoce.cli import app
from sottovoce.models import discovery
from sottovoce.models.parameters import initial
from sottovoce.release.write import write

STYLES = ("fugue", "reel", "tango")
RATE = 22_050
SECONDS = 6


@pytest.fixture(autouse=True)
def own_keys(tmp_path, monkeypatch):
    """Signing keys for the test, not the user's."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture(scope="session")
def published(tmp_path_factory, provenance, coordinator):
    """Untrained releases, `published(task, family)`; or `diverged`: what they make is too large for any number."""

    def make(task, family, *, diverged=False):
        folder = tmp_path_factory.mktemp(task) / "release"
        spec = discovery.spec_of(task, family)
        config = provenance.config.changed(task=task, family=family, feature_spec=spec.digest)
        vector = initial(discovery.family(task, family), spec, len(STYLES), 1)
        vector = 1e38 * np.random.default_rng(0).choice([-1, 1], len(vector)).astype(np.float32) if diverged else vector
        write(folder, replace(provenance, config=config, spec=spec), vector, coordinator, name=f"isles-{task}")
        return folder

    return make


@pytest.fixture(scope="session")
def editor(published):
    return published("editor", "rnn")


@pytest.fixture(scope="session", params=["rnn", "cnn"])
def diverged(request, published):
    return published("editor", request.param, diverged=True)


@pytest.fixture(scope="session")
def autoencoder(published):
    return published("generator", "vae")


@pytest.fixture
def song(tmp_path):
    times = np.arange(SECONDS * RATE) / RATE
    noise = np.random.default_rng(0).normal(scale=0.02, size=times.size)
    soundfile.write(tmp_path / "song.wav", 0.3 * np.sin(2 * np.pi * 330 * times) + noise, RATE, subtype="PCM_24")
    return tmp_path / "song.wav"


@pytest.fixture
def edited(song, tmp_path):
    def run(*options):
        arguments = ["edit", str(song), *map(str, options), "-o", str(tmp_path / "out.wav")]
        return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, arguments)

    return run


def said_of(path):
    done = CliRunner().invoke(app, ["inspect", str(path), "--json"])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize(
    ("options", "method"),
    [
        (("--repair", "2:2.05"), "lpc"),
        (("--repair", "2:2.4"), "exemplar"),
        (("--repair", "1:1.02", "--repair", "2:2.4"), "exemplar lpc"),
        (("--repair", "2:2.02", "--method", "similar"), "exemplar"),  # its former name
        (("--repair", "2:2.02", "--method", "exemplar"), "exemplar"),
        (("--repair", "2:2.02", "--method", "model", "--release", "EDITOR"), "learned"),
        (("--repair", "2:2.001", "--method", "exemplar"), "exemplar"),
        (("--repair", "2:2.003", "--method", "model", "--release", "EDITOR"), "learned"),
    ],
)
def test_gaps_are_filled_by_what_suits_their_length(edited, song, editor, tmp_path, options, method):
    done = edited(*(str(editor) if option == "EDITOR" else option for option in options), "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert (answer["method"], answer["exact_outside"]) == (method, True)
    before, after = (soundfile.read(path, dtype="int32")[0] for path in (song, tmp_path / "out.wav"))
    outside = np.ones(len(before), bool)
    for start, end in answer["gaps"]:
        outside[round(start * RATE) : round(end * RATE)] = False
    assert np.array_equal(before[outside], after[outside])
    assert ("isles-editor" in said_of(tmp_path / "out.wav")) == ("learned" in method)


def test_noise_is_taken_off_and_the_file_says_by_what(edited, song, editor, tmp_path):
    done = edited("--denoise", "1", "--release", editor, "--json")
    assert done.exit_code == 0, done.output
    before, after = (soundfile.read(path)[0] for path in (song, tmp_path / "out.wav"))
    assert len(after) == len(before)
    assert not np.array_equal(before, after)
    said = said_of(tmp_path / "out.wav")
    assert "isles-editor" in said
    assert "denoise" in said


def test_a_track_continues_where_it_ended(edited, song, editor, tmp_path):
    done = edited("--extend", "5", "--release", editor, "--json")
    assert done.exit_code == 0, done.output
    before, after = (soundfile.read(path, dtype="int32")[0] for path in (song, tmp_path / "out.wav"))
    assert len(after) == (SECONDS + 5) * RATE
    assert np.array_equal(after[: len(before)], before)
    assert np.abs(after[len(before) :]).max() > 0
    assert "extend" in said_of(tmp_path / "out.wav")


def test_a_vae_restyles(edited, song, autoencoder, tmp_path):
    done = edited("--restyle", "tango", "--amount", "0.5", "--release", autoencoder, "--gain", "-3", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["operations"] == ["restyle", "gain"]
    assert len(soundfile.read(tmp_path / "out.wav")[0]) == SECONDS * RATE
    assert "isles-generator" in said_of(tmp_path / "out.wav")


@pytest.mark.parametrize("options", [("--denoise", "1"), ("--repair", "2:2.4", "--method", "model")], ids=" ".join)
def test_a_release_that_makes_no_sound_is_blamed_and_nothing_is_written(edited, song, diverged, tmp_path, options):
    before = song.read_bytes()
    done = edited(*options, "--release", diverged)
    assert done.exit_code == 2
    assert "The release generates values that are not finite." in done.stderr
    assert "another" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["song.wav"]
    assert song.read_bytes() == before


def test_numbers_of_the_file_itself_are_not_blamed_on_the_release(edited, song, editor, tmp_path):
    samples, rate = soundfile.read(song)
    samples[100:110] = np.nan
    soundfile.write(song, samples, rate, subtype="FLOAT")
    done = edited("--denoise", "1", "--release", editor)
    assert done.exit_code == 2
    assert "The audio contains samples that are not finite." in done.stderr
    done = edited("--repair", "3:3.05", "--method", "model", "--release", editor)
    assert done.exit_code == 0, done.output
    assert np.array_equal(np.isnan(soundfile.read(tmp_path / "out.wav")[0]), np.isnan(samples))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--denoise", "1"), "This needs a release."),
        (("--repair", "1:2", "--method", "model"), "This needs a release."),
        (("--gain", "1", "--release", "EDITOR"), "No option uses the release"),
        (("--repair", "1:2", "--method", "lpc", "--release", "EDITOR"), "No option uses the release"),
        (("--repair", "1:2", "--release", "EDITOR"), "--method model"),
        (("--restyle", "tango", "--denoise", "1", "--release", "EDITOR"), "Edit in two steps."),
        (("--denoise", "1", "--release", "VAE"), "generator"),
        (("--restyle", "tango", "--release", "EDITOR"), "editor"),
        (("--restyle", "polka", "--release", "VAE"), "does not know the style 'polka'"),
        (("--denoise", "2", "--release", "EDITOR"), "2"),
        (("--extend", "-1", "--release", "EDITOR"), "extended"),
        (("--denoise", "1", "--release", "nowhere"), "nowhere"),
    ],
)
def test_what_cannot_be_done_is_said(edited, editor, autoencoder, tmp_path, options, message):
    places = {"EDITOR": str(editor), "VAE": str(autoencoder)}
    done = edited(*(places.get(option, option) for option in options))
    assert done.exit_code != 0
    assert message in done.stderr
    assert "Traceback" not in done.output
    assert not (tmp_path / "out.wav").exists()
