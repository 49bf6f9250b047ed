"""Editors from catalogue to release, with and without privacy, as a user has it."""

import csv
import json
import shutil

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("little_steps")]


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("cnn", ("--delta", "1e-3", "--init", "none")),
        ("rnn", ("--delta", "1e-3", "--noise", "distributed", "--init", "none")),
    ],
)
def test_labels_train_an_editor(simulate, here, catalogues, tmp_path, family, options):
    out = tmp_path / "run"
    chosen = ("--catalogues", catalogues, "--task", "editor", "--family", family, *options)
    done = simulate(*chosen, "--rounds", 1, "--cpus", 1, "--out", out, "--json")
    assert done.exit_code == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["tracks"] > 0
    assert 0 < figures["loss"] < 5
    assert 0 < figures["repair_error"] < 40
    assert 0 < figures["interpolation_error"] < 40
    assert 0 < figures["denoise_error"] < 40
    assert "loss" in (out / "metrics.csv").read_text().splitlines()[0]
    assert (out / "report.html").read_text().count("accuracy") == 0
    manifest = json.loads((out / "release" / "manifest.json").read_text())
    assert (manifest["task"], manifest["family"]) == ("editor", family)
    told = here("release", "verify", out / "release")
    assert told.exit_code == 0, told.output


def test_only_tracks_whose_consent_allows_it_take_part(here, catalogues, tmp_path):
    """Labels none of whose tracks may serve editors have nothing to train on."""
    chosen = tmp_path / "chosen"
    shutil.copytree(catalogues, chosen)
    for index in chosen.glob("*/catalogue.csv"):
        with index.open(newline="") as file:
            rows = list(csv.DictReader(file))
        with index.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows({**row, "consent": "style; generator"} for row in rows)
    common = ("--catalogues", chosen, "--rounds", "1", "--no-dp", "--out", tmp_path / "run", "--json")
    refused = here("simulate", "--task", "editor", "--family", "rnn", *common)
    assert refused.exit_code != 0
    assert "Traceback" not in refused.stderr
    assert f"{len(rows)} without consent" in refused.stderr
