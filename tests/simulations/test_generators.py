"""Generators from catalogue to sound, with and without privacy, as a user has it."""

import json

import numpy as np
import pytest
import soundfile

from sottovoce.models import registry
from sottovoce.models.parameters import shapes_of, split
from sottovoce.models.start import read_public, shipped
from sottovoce.release.check import check

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("rnn", ("--delta", "1e-3", "--noise", "shared")),
        ("gan", ("--delta", "1e-3", "--init", "none")),
        ("vae", ("--delta", "1e-3", "--noise", "shared", "--init", "none")),
    ],
)
def test_labels_train_a_generator_and_it_sounds(sottovoce, small_catalogues, tmp_path, family, options):
    out = tmp_path / "run"
    arguments = (
        "--catalogues",
        small_catalogues,
        "--task",
        "generator",
        "--family",
        family,
        "--rounds",
        "1",
        "--out",
        out,
    )
    done = sottovoce("simulate", *arguments, "--json", *options)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert np.isfinite(figures["loss"])
    assert figures["tracks"] > 0
    assert (out / "report.html").read_text().count("accuracy") == 0
    assert "loss" in (out / "metrics.csv").read_text().splitlines()[0]
    styles = json.loads((out / "release" / "manifest.json").read_text())["classes"]
    if family == "rnn":
        _only_styles_have_moved(out / "release", styles)
    music = tmp_path / "music.wav"
    made = sottovoce("generate", "--release", out / "release", "--style", styles[0], "--seconds", "2", "-o", music)
    assert made.returncode == 0, made.stderr
    samples, rate = soundfile.read(music)
    assert len(samples) == 2 * rate
    assert np.abs(samples).max() > 1e-3


def _only_styles_have_moved(release, styles):
    """From the public start, that is."""
    family, spec = registry.family("generator", "rnn"), registry.spec_of("generator", "rnn")
    sizes = shapes_of(family, spec, len(styles))
    started = split(read_public(shipped("generator", "rnn")).adapted(family, spec, styles), sizes)
    released = check(release).tensors
    assert {name for name in sizes if not np.array_equal(started[name], released[name])} == {"style.weight"}


def test_a_run_goes_on_from_a_release(sottovoce, small_catalogues, tmp_path):
    common = (
        "--catalogues",
        small_catalogues,
        "--task",
        "generator",
        "--family",
        "gan",
        "--rounds",
        "1",
        "--delta",
        "1e-3",
    )
    first = sottovoce("simulate", *common, "--init", "none", "--out", tmp_path / "first", "--json")
    assert first.returncode == 0, first.stderr
    again = sottovoce("simulate", *common, "--init", tmp_path / "first" / "release", "--out", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    wrong = sottovoce(
        "simulate", "--catalogues", small_catalogues, "--init", tmp_path / "first" / "release", "--out", tmp_path / "x"
    )
    assert wrong.returncode != 0
    assert "cannot start from a release of 'generator gan'" in " ".join(wrong.stderr.split())
