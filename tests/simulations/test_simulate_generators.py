"""Generators from catalogue to sound, with and without privacy, as a user has it."""

import json
from functools import cache

import numpy as np
import pytest
import soundfile

from sottovoce.models import discovery
from sottovoce.models.initialisation import read_public, shipped
from sottovoce.models.parameters import shapes_of, split
from sottovoce.release.check import check

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("little_steps")]

OPTIONS = {
    "rnn": ("--noise", "distributed"),
    "gan": (),
    "vae": ("--noise", "distributed"),
}


@pytest.fixture(scope="module")
def simulated(simulate, catalogues, tmp_path_factory):
    """The results of one round that trains a family, and what was said; a family is trained once."""

    def simulated(family):
        out = tmp_path_factory.mktemp(family) / "run"
        chosen = ("--catalogues", catalogues, "--task", "generator", "--family", family, *OPTIONS[family])
        done = simulate(*chosen, "--rounds", 1, "--delta", 1e-3, "--cpus", 1, "--out", out, "--json")
        assert done.exit_code == 0, done.stderr
        return out, json.loads(done.stdout)

    return cache(simulated)


@pytest.mark.parametrize("family", OPTIONS)
def test_labels_train_a_generator_and_it_sounds(simulated, here, tmp_path, family):
    out, figures = simulated(family)
    assert np.isfinite(figures["loss"])
    assert figures["tracks"] > 0
    assert (out / "report.html").read_text().count("accuracy") == 0
    assert "loss" in (out / "metrics.csv").read_text().splitlines()[0]
    styles = json.loads((out / "release" / "manifest.json").read_text())["classes"]
    _only_styles_have_moved(family, out / "release", styles)
    music = tmp_path / "music.wav"
    generate = ("generate", "--release", out / "release", "--style", styles[0], "--seconds", "2", "-o", music)
    made = here(*generate)
    assert made.exit_code == 0, made.output
    samples, rate = soundfile.read(music)
    assert len(samples) == 2 * rate
    assert np.abs(samples).max() > 1e-3


def _only_styles_have_moved(name, release, styles):
    """From the public start, that is."""
    family, spec = discovery.family("generator", name), discovery.spec_of("generator", name)
    sizes = shapes_of(family, spec, len(styles))
    started = split(read_public(shipped("generator", name)).adapted(family, spec, styles), sizes)
    released = check(release).tensors
    moved = {part for part in sizes if not np.array_equal(started[part], released[part])}
    assert moved == {part for part in sizes if part.endswith("style.weight")}


def test_a_run_extends_a_release(simulated, simulate, catalogues, tmp_path):
    release = simulated("gan")[0] / "release"
    common = ("--catalogues", catalogues, "--init", release)
    of_generators = ("--task", "generator", "--family", "gan", "--rounds", 1, "--delta", 1e-3, "--cpus", 1)
    again = simulate(*common, *of_generators, "--out", tmp_path / "again")
    assert again.exit_code == 0, again.stderr
    wrong = simulate(*common, "--out", tmp_path / "x")
    assert wrong.exit_code != 0
    assert "cannot start from a release of 'generator gan'" in " ".join(wrong.stderr.split())
