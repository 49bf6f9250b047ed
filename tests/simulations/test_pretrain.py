"""Starts learned from public audio, by the command that makes them."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from opacus.layers import DPGRU

from sottovoce.models import discovery
from sottovoce.models.initialisation import read_public
from sottovoce_simulations.shipped_weights import pretrain
from sottovoce_simulations.shipped_weights.pretrain import _hasten, public_audio, segments

RATE = 22_050


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """Synthetic catalogues and rendered scores, as folders; one file is unreadable."""
    root, rng = tmp_path_factory.mktemp("public"), np.random.default_rng(0)
    for path in ("music/label-01/blues/a/1", "music/label-02/waltz/b/2", "scores/bach/3", "scores/blues/4"):
        file = (root / path).with_suffix(".flac")
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, 0.1 * rng.standard_normal(RATE * 12), RATE)
    (root / "scores/bach/5.flac").write_bytes(b"no audio")
    return root / "music", root / "scores"


def test_styles_are_the_folders_of_both_kinds(folders):
    spec = pretrain.lengthened(discovery.spec_of("generator", "rnn"))
    features, classes, tracks, styles = segments(public_audio(*folders), spec)
    assert styles == ("bach", "blues", "waltz")
    assert [styles[number] for number in classes] == ["blues", "waltz", "bach", "blues"]
    assert len(features) == len(set(tracks.tolist())) == 4


def test_what_is_not_there_is_made_of_what_may_be_learned_from(tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr(pretrain, "synthesise", lambda folder, **given: asked.update({folder.name: given}))
    monkeypatch.setattr(pretrain, "repertoire", lambda folder, **given: asked.update({folder.name: given}))
    assert public_audio(tmp_path / "music") == [tmp_path / "music"]
    assert set(asked) == {"music"}
    public_audio(tmp_path / "music", tmp_path / "scores")
    assert asked["scores"]["public"]
    assert "palestrina" not in asked["scores"]["styles"]


def test_a_start_is_learned_and_a_run_starts_from_it(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain, "BATCH", 2)
    monkeypatch.setattr(pretrain, "EXCERPT", 32)

    def learn(out: Path, *arguments: str) -> None:
        given = [*map(str, folders), "--family", "rnn", "--out", str(out), *arguments]
        monkeypatch.setattr(sys, "argv", ["pretrain", *given])
        pretrain.main()

    learn(tmp_path / "a", "--steps", "0")
    learn(tmp_path / "b", "--steps", "2", "--start", str(tmp_path / "a"))
    learn(tmp_path / "c", "--steps", "2", "--start", str(tmp_path / "a"), "--learning-rate", "0")
    first, second, third = (read_public(tmp_path / name) for name in "abc")
    assert first.classes == second.classes == ("bach", "blues", "waltz")
    moved = [name for name, array in first.arrays.items() if not np.array_equal(array, second.arrays[name])]
    assert len(moved) > len(first.arrays) / 2
    assert all(np.array_equal(array, third.arrays[name]) for name, array in first.arrays.items())


def test_silent_parameters_are_0_and_stay_so(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain, "BATCH", 2)
    monkeypatch.setattr(pretrain, "EXCERPT", 32)
    given = [
        str(folders[0]),
        "--task",
        "editor",
        "--family",
        "rnn",
        "--steps",
        "2",
        "--silent",
        "spectra.0",
        "spectra.1",
    ]
    monkeypatch.setattr(sys, "argv", ["pretrain", *given, "--out", str(tmp_path / "a")])
    pretrain.main()
    arrays = read_public(tmp_path / "a").arrays
    silent = {name for name in arrays if name.startswith(("spectra.0", "spectra.1"))}
    assert {name for name, array in arrays.items() if not array.any()} == silent
    assert len(silent) == 4


@pytest.mark.parametrize("shape", [{}, {"bidirectional": True}, {"num_layers": 2}])
def test_recurrence_in_one_operation_is_that_of_opacus(shape):
    torch.manual_seed(0)
    model, values = torch.nn.Sequential(DPGRU(5, 7, batch_first=True, **shape)), torch.randn(3, 11, 5)
    state = torch.randn_like(model[0](values)[1])
    steps = [model[0](values), model[0](values, state)]
    _hasten(model)
    at_once = [model[0](values), model[0](values, state)]
    for one, other in zip(steps, at_once, strict=True):
        for expected, found in zip(one, other, strict=True):
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
