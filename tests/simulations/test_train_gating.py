"""Training of the network that fills gaps, and the music that it must not be trained on."""

import csv

import numpy as np
import pytest
import soundfile
import torch

from sottovoce.errors import CatalogueError
from sottovoce.studio.editing import candidates, gating
from sottovoce_simulations.scores.repertoire import HELD_OUT, audio_below, held_out, learnable
from sottovoce_simulations.shipped_weights import train_gating

RATE = 22_050


STYLES = ("bach", "palestrina")


@pytest.fixture
def scores(tmp_path):
    """A folder as of rendered scores: names of two classes, two to a work, and a copy in a hidden folder."""
    folder = tmp_path / "scores"
    (folder / ".sottovoce" / "partitions").mkdir(parents=True)
    names = [f"{style}/piece-{number:03d}.flac" for style in STYLES for number in range(40)]
    for style in STYLES:
        (folder / style).mkdir()
    for name in names:
        (folder / name).touch()
    (folder / ".sottovoce" / "partitions" / "piece-000.flac").touch()
    with (folder / "catalogue.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "style", "title", "album"))
        rows.writerows((name, name.split("/")[0], name, f"work-{number // 2}") for number, name in enumerate(names))
    return folder


def test_what_benchmarks_hear_does_not_depend_on_what_simulations_leave(scores):
    heard = held_out(scores)
    assert len(set(heard)) == HELD_OUT
    (scores / ".sottovoce" / "partitions" / "piece-001.flac").touch()
    assert held_out(scores) == heard
    assert not any(".sottovoce" in path.parts for path in audio_below(scores))


def test_nothing_is_learned_from_works_that_benchmarks_hear_or_from_reserved_encodings(scores):
    learned = learnable(scores)
    assert learned
    assert {path.parent.name for path in learned} == {"bach"}
    assert {path.parent.name for path in held_out(scores)} == set(STYLES)

    def works(paths):
        return {int(path.stem[-3:]) // 2 for path in paths if path.parent.name == "bach"}

    assert not works(held_out(scores)) & works(learned)


def test_all_else_is_learned_from(tmp_path):
    (tmp_path / "label-1").mkdir()
    (tmp_path / "label-1" / "a.wav").touch()
    assert learnable(tmp_path) == [tmp_path / "label-1" / "a.wav"]


def test_folders_take_turns_and_more_tracks_begin_with_the_same_ones(scores, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for number in range(9):
        (other / f"{number}.wav").touch()
    few, many = train_gating.tracks([scores, other], 6), train_gating.tracks([scores, other], 12)
    assert many[:6] == few
    assert [path.suffix for path in few] == [".flac", ".wav"] * 3


def test_it_learns_which_guess_to_believe(tmp_path):
    """Chords that only start and stop: what is missing is the mean of its neighbours, or louder."""
    paths = []
    for number in range(6):
        rng = np.random.default_rng(number)
        times = np.arange(4 * RATE) / RATE
        beat = np.exp(-6 * (times % 0.4))
        audio = 0.3 * beat * np.sin(2 * np.pi * (200 + 40 * number) * times) + 0.01 * rng.standard_normal(len(times))
        paths.append(tmp_path / f"{number}.wav")
        soundfile.write(paths[-1], audio, RATE)
    soundfile.write(tmp_path / "short.wav", np.ones(RATE), RATE)
    gaps = train_gating.gather([*paths, tmp_path / "short.wav"])
    assert gaps.candidates.shape == (6, train_gating.PLACES, candidates.CANDIDATES, 3, 3)
    assert gaps.features.shape == (6, train_gating.PLACES, candidates.FEATURES)
    every = torch.arange(6)
    before = train_gating.held_out(gating.GatingNetwork(), gaps, every)
    model = train_gating.fit(gaps, steps=40)
    assert train_gating.held_out(model, gaps, every) < before - 1
    again = train_gating.fit(gaps, steps=40)
    assert gating.to_bytes(model) == gating.to_bytes(again)


def test_places_that_are_drawn_tell_of_all(tmp_path):
    """Sums over them, weighed, are about those over all bands and frames."""
    wanted = torch.rand(256, 12, generator=torch.Generator().manual_seed(0)) ** 4
    known = candidates.Candidates(
        wanted.expand(1, candidates.CANDIDATES, 256, 12).new_full((1, candidates.CANDIDATES, 256, 14), 0.3),
        torch.zeros(1, candidates.FEATURES, 256, 12),
        torch.ones(1, 1, 1),
    )
    drawn = train_gating._drawn(known, wanted, torch.Generator().manual_seed(1))
    energy = float((drawn.weights * drawn.wanted.float().square()).sum())
    assert energy == pytest.approx(float(wanted.square().sum()), rel=0.1)


def test_no_audio_is_named(tmp_path):
    with pytest.raises(CatalogueError, match="no audio"):
        train_gating.gather(train_gating.tracks([tmp_path], 10))
