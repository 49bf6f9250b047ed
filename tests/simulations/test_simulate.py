"""Whole simulations on real audio files, through the command line as a user has it.

Under Flower's engine with Ray: the one that ends well, the one that is killed, the one that is interrupted.
"""

import csv
import json
import math
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from sottovoce_client.budget.ledger import Ledger
from sottovoce_simulations.engine.simulation import CACHE

pytestmark = pytest.mark.slow
LABELS = 4


@pytest.fixture(scope="module")
def finished(program, catalogues: Path, made_once: Callable[..., Path]) -> tuple[dict, Path]:
    """Of two rounds on all cores, under Ray."""

    def fill(folder: Path) -> None:
        options = ("--rounds", "2", "--delta", "1e-3", "--out", folder / "run", "--json")
        done = program("simulate", "--catalogues", catalogues, *options)
        assert done.wait() == 0, done.stderr
        (folder / "said.json").write_text(done.stdout)

    folder = made_once("simulated", fill)
    return json.loads((folder / "said.json").read_text()), folder / "run"


def test_json_is_one_object_with_every_final_figure(finished):
    figures, out = finished
    assert {"accuracy", "macro_f1", "epsilon", "delta", "rounds", "clients", "dropped", "parameters"} <= set(figures)
    assert figures["rounds"] == 2
    assert figures["clients"] == LABELS
    assert figures["dropped"] == 0
    assert figures["release"] == str(out / "release")
    assert {"features", "training", "masking", "total"} <= set(figures["seconds"])
    assert 0 < figures["seconds"]["training"] < figures["seconds"]["total"]
    ring_bytes = json.loads((out / "run.json").read_text())["configuration"]["ring_bits"] / 8
    assert 1 < figures["bytes_up_per_client_per_round"] / (ring_bytes * figures["trained"]) < 2
    assert 0 <= figures["accuracy"] <= 1


def test_every_label_spent_what_its_ledger_says(finished):
    figures, out = finished
    assert len(figures["epsilon"]) == LABELS
    for label, epsilon in figures["epsilon"].items():
        with Ledger(out / "labels" / label / "ledger.sqlite") as ledger:
            assert epsilon == pytest.approx(ledger.epsilon(1e-3))
        assert 7.5 < epsilon <= 8.0


def test_all_files_are_there_and_agree(finished):
    figures, out = finished
    run = json.loads((out / "run.json").read_text())
    assert run["figures"] == figures
    with (out / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["round"]) for row in rows] == [1, 2]
    assert 0 <= float(rows[-1]["macro_f1"]) <= 1  # with the labels' noise; the figures are exact
    for name in ("learning_curve", "confusion_matrix", "epsilon"):
        assert (out / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "report.html").read_text()
    for shown in re.findall(r'src="([^"]+)"', page):
        assert (out / shown).exists()
    assert f"{figures['macro_f1']:.3f}" in page
    assert sum(map(sum, figures["confusion_matrix"])) == figures["tracks"]


def test_the_labels_homes_are_their_owners_alone(finished):
    _, out = finished
    for home in (out / "labels").iterdir():
        assert home.stat().st_mode & 0o077 == 0
        for secret in ("identity.key", "split.key", "ledger.sqlite"):
            assert (home / secret).stat().st_mode & 0o077 == 0
        assert not [file for file in (home / "runs").iterdir() if file.suffix == ".json"], "a run's key was kept"


def test_the_release_verifies_and_classifies(finished, catalogues, here):
    _, out = finished
    assert here("release", "verify", out / "release").exit_code == 0
    track = next(catalogues.glob("label-*/*/*/*.flac"))
    done = here("classify", track, "--release", out / "release", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)


def test_labels_that_vanish_do_not_stop_a_run(simulate, catalogues, tmp_path):
    done = simulate(
        "--catalogues", catalogues, "--rounds", "4", "--delta", "1e-3", "--drop-out", "0.3", "--seed", "5",
        "--balance", "sampling", "--ring-bits", "16", "--cpus", "1", "--out", tmp_path / "run", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["dropped"] > 0
    assert figures["rounds"] == 4
    assert max(figures["epsilon"].values()) <= 8.0


@pytest.fixture
def pool(catalogues, tmp_path):
    """The tracks of three labels in one catalogue, with their features."""
    rows = []
    for label in sorted(catalogues.glob("label-*"))[:3]:
        with (label / "catalogue.csv").open(newline="", encoding="utf-8") as file:
            rows += [{**row, "path": f"{label.name}/{row['path']}"} for row in csv.DictReader(file)]
    for row in rows:
        (tmp_path / "pool" / row["path"]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pool" / row["path"]).hardlink_to(catalogues / row["path"])
    with (tmp_path / "pool" / "catalogue.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    shutil.copytree(catalogues / CACHE / "features", tmp_path / "pool" / CACHE / "features", copy_function=os.link)
    return tmp_path / "pool"


def test_a_pool_is_split(simulate, pool, tmp_path):
    done = simulate(
        "--catalogues", pool, "--clients", "3", "--partition", "iid",
        "--rounds", "1", "--no-dp", "--cpus", "1", "--out", tmp_path / "run", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["clients"] == 3
    assert set(figures["epsilon"].values()) == {None}
    privacy = json.loads((tmp_path / "run" / "release" / "manifest.json").read_text())["privacy"]
    assert privacy["noise"] == "none"


def test_labels_with_too_little_say_so(simulate, catalogues, tmp_path):
    done = simulate(
        "--catalogues", catalogues / "label-01", "--clients", "3", "--unit", "artist", "--cpus", "1",
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.exit_code == 5
    assert "Only 0 labels take part, but the agreement needs 3" in done.stderr
    assert "too few tracks (or artists)" in " ".join(done.stderr.split())
    assert not (tmp_path / "run").exists()


def test_a_killed_simulation_leaves_nothing_half_written(simulate, program, catalogues, tmp_path, eventually):
    out = tmp_path / "run"
    running = program("simulate", "--catalogues", catalogues, "--cpus", 1, "--out", out, session=True)
    eventually(lambda: list(tmp_path.glob(".run.*/labels/*/ledger.sqlite")), "labels have homes", alive=running.alive)
    os.killpg(running.pid, signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert not out.exists()
    chosen = ("--catalogues", catalogues, "--rounds", "1", "--delta", "1e-3", "--cpus", "1")
    done = simulate(*chosen, "--out", out, "--json")
    assert done.exit_code == 0, done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


def test_ctrl_c_ends_it_cleanly(program, catalogues, tmp_path, eventually):
    running = program(
        "simulate", "--catalogues", catalogues, "--rounds", 500,
        "--cpus", 1, "--delta", "1e-3", "--out", tmp_path / "run",
    )  # fmt: skip
    eventually(lambda: list(tmp_path.glob(".run.*/labels/*/timings.jsonl")), "labels have trained", alive=running.alive)
    running.signal(signal.SIGINT)
    assert running.wait() == 130
    assert "Interrupted." in running.stderr
    assert "Traceback" not in running.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_epsilon_that_no_noise_keeps_is_an_error_with_a_word(simulate, catalogues, tmp_path):
    chosen = ("--catalogues", catalogues, "--delta", "0.5", "--cpus", "1")
    done = simulate(*chosen, "--out", tmp_path / "run")
    assert done.exit_code != 0
    assert "Traceback" not in done.stderr
    assert "declined" in done.stderr


def test_accuracy_is_finite(finished):
    figures, _ = finished
    assert math.isfinite(figures["loss"])
