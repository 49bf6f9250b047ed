import json
import os
from dataclasses import replace
from hashlib import sha256

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


@pytest.fixture(autouse=True)
def own_keys(tmp_path, monkeypatch):
    """Signing keys for the test, not the user's."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def made(maker, tmp_path):
    def run(*options, out="song.wav", style="reel", release=maker):
        arguments = ["generate", "--release", str(release), "--style", style, "-o", str(tmp_path / out), *options]
        return CliRunner().invoke(app, arguments)

    return run


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg"])
def test_it_writes_audio_of_the_asked_length(made, tmp_path, extension):
    done = made("--seconds", "1.5", "--seed", "3", "--json", out=f"deep/song.{extension}")
    assert done.exit_code == 0, done.output
    samples, rate = soundfile.read(tmp_path / "deep" / f"song.{extension}")
    assert rate == RATE
    assert len(samples) == round(1.5 * RATE)
    assert 0.001 < np.abs(samples).max() <= 1
    (answer,) = json.loads(done.stdout)
    assert (answer["style"], answer["seed"], answer["seconds"]) == ("reel", 3, 1.5)


def test_the_file_says_where_it_came_from(made, tmp_path):
    assert made("--seconds", "1", "--seed", "3").exit_code == 0
    done = CliRunner().invoke(app, ["inspect", str(tmp_path / "song.wav"), "--json"])
    assert done.exit_code == 0, done.output
    assert "isles-maker" in done.stdout
    assert "generate" in done.stdout


def test_the_same_seed_gives_the_same_audio_and_another_does_not(made, tmp_path):
    for name, seed in (("a.flac", "1"), ("b.flac", "1"), ("c.flac", "2")):
        assert made("--seconds", "1", "--seed", seed, out=name).exit_code == 0
    one, same, other = (soundfile.read(tmp_path / name)[0] for name in ("a.flac", "b.flac", "c.flac"))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_audio_too_short_for_a_watermark_is_reported(made):
    done = made("--seconds", "1", "--json", out="short.ogg")
    assert json.loads(done.stdout)[0]["watermark_score"] is None
    assert "too short" in done.stderr
    assert "short.c2pa holds its credentials" in done.stderr


def test_a_place_where_nothing_can_be_written_is_refused_before_anything_is_made(made, tmp_path, monkeypatch):
    monkeypatch.setattr("sottovoce.studio.generation.generate", None)  # it would be called
    (tmp_path / "text").write_text("no folder")
    for out in ("text/song.wav", "text/deep/song.wav"):
        refused = made(out=out)
        assert refused.exit_code == 2
        assert "'text' is not a folder" in refused.stderr
    monkeypatch.setattr("os.access", lambda path, mode: not mode & os.W_OK)
    refused = made(out="new/song.wav")
    assert refused.exit_code == 2
    assert "Cannot write to" in refused.stderr
    assert not (tmp_path / "new").exists()


def test_credentials_of_another_file_are_not_replaced_unasked(made, tmp_path):
    (tmp_path / "song.c2pa").write_bytes(b"another's")
    refused = made("--seconds", "0.5", out="song.ogg")
    assert refused.exit_code == 2
    assert "song.c2pa" in refused.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["song.c2pa"]
    assert (tmp_path / "song.c2pa").read_bytes() == b"another's"
    assert made("--seconds", "0.5", "--force", out="song.ogg").exit_code == 0
    assert (tmp_path / "song.c2pa").read_bytes() != b"another's"


@pytest.mark.parametrize("family", ["rnn", "vae", "gan"])
def test_a_release_that_makes_no_sound_is_reported_and_nothing_written(made, provenance, coordinator, tmp_path, family):
    """Its numbers are finite, as those of every release, and what follows from them is not."""
    spec = discovery.spec_of("generator", family)
    config = provenance.config.changed(task="generator", family=family, feature_spec=spec.digest)
    vector = 3e38 * np.sign(initial(discovery.family("generator", family), spec, len(STYLES), 1))
    folder = tmp_path / "releases" / "diverged"
    write(folder, replace(provenance, config=config, spec=spec), vector, coordinator, name="isles-diverged")
    done = made("--seconds", "1", release=folder)
    assert done.exit_code == 2, done.output
    assert "not finite" in done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


def test_several_differ_and_the_first_is_the_one_made_alone(made, tmp_path):
    assert made("--seconds", "1", "--seed", "1", "--count", "2").exit_code == 0
    assert made("--seconds", "1", "--seed", "1", out="alone.wav").exit_code == 0
    one, two, alone = (soundfile.read(tmp_path / name)[0] for name in ("song-1.wav", "song-2.wav", "alone.wav"))
    assert not np.array_equal(one, two)
    assert np.array_equal(one, alone)


def test_without_a_seed_the_drawn_one_is_shown(made):
    done = made("--seconds", "0.5", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)[0]["seed"] >= 0


def test_the_ends_do_not_click(made, tmp_path):
    assert made("--seconds", "1", "--seed", "1").exit_code == 0
    samples, _ = soundfile.read(tmp_path / "song.wav")
    assert abs(samples[0]) < 1e-3
    assert abs(samples[-1]) < 1e-3


@pytest.mark.parametrize(
    ("options", "changes", "says"),
    [
        ((), {"style": "polka"}, "does not know the style 'polka'"),
        ((), {"out": "song.mp3"}, "cannot be written as '.mp3'"),
        ((), {"out": "song"}, "no extension"),
        (("--seconds", "0"), {}, "seconds"),
        (("--seconds", "99999"), {}, "seconds"),
        (("--temperature", "-1"), {}, "temperature"),
        *((("--temperature", text), {}, "temperature") for text in ("nan", "inf")),
        *((("--seconds", text), {}, "seconds") for text in ("nan", "inf")),
        (("--seed", str(2**53)), {}, "seed"),
        (("--count", "0"), {}, "count"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_nothing(made, tmp_path, options, changes, says):
    done = made("--seed", "1", *options, **changes)
    assert done.exit_code != 0
    assert says in done.output
    assert "Traceback" not in done.output
    assert [path for path in tmp_path.iterdir() if path.suffix in {".wav", ".mp3", ""} and path.is_file()] == []


def test_a_release_of_another_task_is_refused_both_ways(made, release, maker, tmp_path):
    done = made(release=release)
    assert done.exit_code != 0
    assert "is for the task 'style'" in " ".join(done.output.split())
    soundfile.write(tmp_path / "x.wav", np.zeros(8 * RATE), RATE)
    done = CliRunner().invoke(app, ["classify", str(tmp_path / "x.wav"), "--release", str(maker)])
    assert done.exit_code != 0
    assert "is for the task 'generator'" in " ".join(done.output.split())


def test_a_file_that_exists_is_kept_unless_forced(made, tmp_path):
    (tmp_path / "song.wav").write_text("mine")
    done = made("--seconds", "0.5")
    assert done.exit_code != 0
    assert "exists" in done.output
    assert (tmp_path / "song.wav").read_text() == "mine"
    assert made("--seconds", "0.5", "--force").exit_code == 0
    (tmp_path / "folder.wav").mkdir()
    assert "is a folder" in made("--force", out="folder.wav").output


@pytest.fixture(scope="session")
def judge(tmp_path_factory, provenance, coordinator):
    """A release that recognises two of the styles, untrained: it prefers some audio to other, for no good reason."""
    config = provenance.config.changed(classes=("polka", *STYLES[1:]))
    vector = initial(discovery.family("style", config.family), provenance.spec, len(config.classes), 1)
    vector = vector + np.random.default_rng(1).normal(scale=0.1, size=len(vector)).astype(vector.dtype)
    folder = tmp_path_factory.mktemp("judge") / "release"
    write(folder, replace(provenance, config=config), vector, coordinator, name="isles-judge")
    return folder


def test_a_judge_chooses_among_beginnings_and_the_piece_says_so(made, judge, tmp_path):
    options = ("--seconds", "1", "--seed", "3", "--candidates", "3", "--json")
    done = made("--judge", str(judge), *options)
    assert done.exit_code == 0, done.output
    (answer,) = json.loads(done.stdout)
    assert answer["candidates"] == 3
    assert answer["judge"] == sha256((judge / "manifest.json").read_bytes()).hexdigest()
    inspected = CliRunner().invoke(app, ["inspect", str(tmp_path / "song.wav"), "--json"])
    assert answer["judge"] in inspected.stdout
    assert len(soundfile.read(tmp_path / "song.wav")[0]) == RATE


def test_candidates_without_a_judge_are_refused(made):
    done = made("--candidates", "3", "--seed", "1")
    assert done.exit_code != 0
    assert "needs a --judge" in done.output


def test_a_judge_of_another_task_or_of_other_styles_is_refused(made, maker, judge):
    for style, release, says in (
        ("reel", maker, "is for the task 'generator'"),
        ("fugue", judge, "does not know the style 'fugue'"),
    ):
        done = made("--judge", str(release), "--seed", "1", style=style)
        assert done.exit_code != 0
        assert says in " ".join(done.output.split())
        assert "Traceback" not in done.output
