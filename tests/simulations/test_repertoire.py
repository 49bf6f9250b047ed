import csv
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import soundfile

from sottovoce.errors import ConfigurationError, UserError
from sottovoce_simulations import repertoire as module
from sottovoce_simulations.repertoire import STYLES, repertoire
from sottovoce_simulations.scores import Piece, Sounding


def tune(notes=48):
    return [Sounding(float(beat), 1.0, 60 + beat % 12, 0) for beat in range(notes)]


def excerpt(notes, seconds, seed=0):
    return module._excerpt(notes, seconds, np.random.default_rng(seed))


@pytest.mark.parametrize("notes", [4, 24, 500])
def test_an_excerpt_fills_its_time_whatever_the_length_of_the_piece(notes):
    for seed in range(20):
        strokes = excerpt(tune(notes), 12.0, seed)
        covered = sorted((stroke.start, stroke.start + stroke.length) for stroke in strokes)
        assert covered[0][0] < 0.5
        assert max(end for _, end in covered) > 11.5
        assert all(after[0] - before[1] < 0.1 for before, after in pairwise(covered))
        assert all(0 <= stroke.start <= 12.1 for stroke in strokes)


def test_excerpts_differ_in_place_key_and_tempo():
    strokes = [excerpt(tune(500), 12.0, seed) for seed in range(30)]
    assert len({len(some) for some in strokes}) > 5
    assert len({some[0].key for some in strokes}) > 5


def test_parts_of_one_work_share_its_name():
    from sottovoce_simulations.scores import _work

    assert _work("palestrina", "Credo_63_a") == _work("palestrina", "Kyrie_II_63") == "palestrina mass 63"
    assert _work("bach", "bwv248.12-2") == _work("bach", "bwv248.5") == "bwv248"
    assert _work("ryans-mammoth", "LanigansBallJig") == "LanigansBallJig"


def test_what_cannot_be_rendered_is_refused_by_name(tmp_path, monkeypatch):
    with pytest.raises(ConfigurationError, match="There is no repertoire 'polka'"):
        repertoire(tmp_path / "out", styles=("bach", "polka"))
    with pytest.raises(ConfigurationError, match="Expected pieces=0"):
        repertoire(tmp_path / "out", pieces=0)
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "music21" else object())
    with pytest.raises(UserError, match="needs music21") as refusal:
        repertoire(tmp_path / "out")
    assert "make repertoire" in (refusal.value.hint or "")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def installed():
    for name in ("music21", "pretty_midi", "tinysoundfont"):
        pytest.importorskip(name)


def test_every_class_has_pieces(installed):
    from sottovoce_simulations.scores import pieces

    for style in STYLES:
        found = pieces(style)
        assert len(found) >= 100
        assert len({(piece.path, piece.number) for piece in found}) == len(found)
        assert len({piece.work for piece in found}) >= 90


def test_ties_are_joined_and_files_that_cannot_be_read_are_passed_over(installed, tmp_path):
    from sottovoce_simulations.scores import notes

    found = notes(Piece("palestrina/Agnus_II_47.krn", None, ""))
    assert [note.start for note in found] == sorted(note.start for note in found)
    assert {note.part for note in found} == set(range(6))
    # The cantus ties a whole e flat over the bar line to a half: six quarter notes in all.
    assert Sounding(12.0, 6.0, 75, 0) in found
    assert notes(Piece("license.txt", None, "")) == []


def test_a_small_repertoire_is_rendered(installed, tmp_path):
    asked = {"pieces": 2, "seconds": 4.0, "styles": ("ryans-mammoth", "bach")}
    out = repertoire(tmp_path / "out", **asked, workers=1)
    rows = list(csv.DictReader((out / "catalogue.csv").open(encoding="utf-8")))
    assert Counter(row["style"] for row in rows) == {"bach": 2, "ryans-mammoth": 2}
    for row in rows:
        samples, rate = soundfile.read(out / row["path"])
        assert (len(samples), rate) == (4 * 22_050, 22_050)
        assert 10 ** (-40 / 20) < np.sqrt(np.mean(samples**2)) < 10 ** (-13 / 20)
        assert row["album"]
    assert not list(out.rglob("*.row"))
    again = repertoire(tmp_path / "again", **asked, workers=1)
    assert all((again / row["path"]).read_bytes() == (out / row["path"]).read_bytes() for row in rows)
    inode = out.stat().st_ino
    assert repertoire(out, **asked).stat().st_ino == inode
