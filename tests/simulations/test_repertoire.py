import csv
import json
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import soundfile

from sottovoce.errors import ConfigurationError, UserError
from sottovoce_simulations.scores import repertoire as module
from sottovoce_simulations.scores.music21_corpus import Piece, Sounding
from sottovoce_simulations.scores.repertoire import STYLES, repertoire


def tune(notes=48):
    return [Sounding(beat / 2, 0.5, 60 + beat % 12, 0) for beat in range(notes)]


def excerpt(notes, seconds, seed=0):
    begin = module._places(module._end(notes), seconds, seed)[0]
    return module._excerpt(notes, begin, seconds, np.random.default_rng(seed))


@pytest.mark.parametrize("notes", [4, 24, 500])
def test_an_excerpt_fills_its_time_whatever_the_length_of_the_piece(notes):
    for seed in range(20):
        strokes = excerpt(tune(notes), 12.0, seed)
        covered = sorted((stroke.start, stroke.start + stroke.length) for stroke in strokes)
        assert covered[0][0] < 0.5
        assert max(end for _, end in covered) > 11.5
        assert all(after[0] - before[1] < 0.1 for before, after in pairwise(covered))
        assert all(0 <= stroke.start <= 12.1 for stroke in strokes)


def test_an_excerpt_keeps_key_and_tempo():
    strokes = module._excerpt(tune(500), 30.0, 12.0, np.random.default_rng(0))
    assert [stroke.key for stroke in sorted(strokes, key=lambda stroke: stroke.start)] == [
        60 + i % 12 for i in range(60, 84)
    ]
    starts = sorted(stroke.start for stroke in strokes)
    assert np.allclose(starts, np.arange(24) / 2, atol=0.05)


@pytest.mark.parametrize("length", [0.0, 5.0, 12.0, 23.9, 100.0])
def test_excerpts_of_one_piece_do_not_overlap(length):
    for seed in range(10):
        begins = module._places(length, 12.0, seed)
        assert len(begins) == (0 if length == 0 else max(1, length // 12))
        assert all(after - before >= 12 - 1e-9 for before, after in pairwise(sorted(begins)))
        assert all(0 <= begin <= max(0, length - 12) for begin in begins)
    assert length < 36 or len({tuple(module._places(length, 12.0, seed)) for seed in range(10)}) == 10


def test_a_class_of_few_pieces_gives_several_excerpts_of_some(tmp_path):
    lengths = [5.0, 40.0, 0.0, 26.0]
    found = []
    for number, length in enumerate(lengths):
        score = module._Score(Piece(f"{number}", None, f"work {number}"), tmp_path / f"{number}.json")
        notes = [[0.0, length, 60, 0]] if length else []
        score.notes.write_text(json.dumps(notes))
        found.append(score)
    jobs = module._jobs("bach", found, 10, 12.0, 1, tmp_path)
    assert [job.score.piece.path for job in jobs] == ["0", "1", "3", "1", "3", "1"]
    assert [job.number for job in jobs] == list(range(6))


def test_notes_keep_the_tempo_of_their_place():
    from sottovoce_simulations.scores.music21_corpus import _timed

    quarters = [Sounding(0.0, 1.0, 60, 0), Sounding(3.0, 2.0, 62, 0), Sounding(8.0, 4.0, 64, 0)]
    seconds = list(_timed(quarters, [(0.0, 120.0), (4.0, 60.0), (8.0, None)]))
    assert [(note.start, note.length) for note in seconds] == [(0.0, 0.5), (1.5, 1.5), (6.0, 2.0)]


def test_parts_of_one_work_share_its_name():
    from sottovoce_simulations.scores.music21_corpus import _work

    assert _work("palestrina", "Credo_63_a") == _work("palestrina", "Kyrie_II_63") == "palestrina mass 63"
    assert _work("bach", "bwv248.12-2") == _work("bach", "bwv248.5") == "bwv248"
    assert _work("ryans-mammoth", "LanigansBallJig") == "LanigansBallJig"


def test_what_cannot_be_rendered_is_refused_by_name(tmp_path, monkeypatch):
    with pytest.raises(ConfigurationError, match="Unknown repertoire 'polka'"):
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
    from sottovoce_simulations.scores.music21_corpus import pieces

    for style in STYLES:
        found = pieces(style)
        assert len(found) >= 100
        assert len({(piece.path, piece.number) for piece in found}) == len(found)
        assert len({piece.work for piece in found}) >= 90


def test_ties_are_joined_and_files_that_cannot_be_read_are_passed_over(installed, tmp_path):
    from sottovoce_simulations.scores.music21_corpus import notes

    found = notes(Piece("palestrina/Agnus_II_47.krn", None, ""))
    assert [note.start for note in found] == sorted(note.start for note in found)
    assert {note.part for note in found} == set(range(6))
    # The cantus ties a whole e flat over the bar line to a half: six quarter notes in all, of half a second each.
    assert Sounding(6.0, 3.0, 75, 0) in found
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


def test_public_models_learn_from_some_works_and_never_from_reserved_encodings():
    assert set(STYLES) - set(module.LEARNED) == {"palestrina"}
    works = [f"work {number}" for number in range(1000)]
    assert 400 < sum(map(module.of_public, works)) < 600
    # Which of them stays so: the start that is shipped has learned from these.
    assert [module.of_public(work) for work in ("bwv244", "bwv245", "bwv248", "oneills 1")] == [
        False,
        False,
        True,
        True,
    ]


def test_only_public_works_are_rendered_where_that_is_asked(installed, tmp_path):
    out = repertoire(tmp_path / "out", 4, 2.0, styles=("bach",), public=True, workers=1)
    rows = list(csv.DictReader((out / "catalogue.csv").open(encoding="utf-8")))
    assert len(rows) == 4
    assert all(module.of_public(row["album"]) for row in rows)
