"""Planted copies are found, with several seeds; other music passes."""

import logging
import random
import shutil
import stat
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from sottovoce.audio.decoding import read
from sottovoce.errors import CatalogueError, ReleaseError
from sottovoce_client.catalogue.holdout import group_of
from sottovoce_client.copy_audit.comparison import TESTS, Closest, closest
from sottovoce_client.copy_audit.excerpt import excerpts
from sottovoce_client.copy_audit.release_audit import as_sample, audit, tracks_of
from sottovoce_client.copy_audit.sketch import as_mono, sketch, sketch_file
from sottovoce_client.copy_audit.sketch_cache import SketchStore
from sottovoce_client.copy_audit.thresholds import bounds

RATE = 22_050
LENGTH = 10 * RATE
COPIED = 6
"""Number of tracks of which a copy of each kind is planted."""


def piece(track, rng):
    audio = read(track.path, RATE).numpy()
    start = int(rng.integers(0, len(audio) - LENGTH + 1))
    return audio[start : start + LENGTH]


@pytest.mark.parametrize("copied", ["a semitone higher"], indirect=True)
def test_one_copy_among_others_music_is_found(home, release, policy, split, strangers, makes, copied):
    rng = np.random.default_rng(1)
    track = split.train[int(rng.integers(len(split.train)))]
    makes([*strangers[:3], np.asarray(copied(piece(track, rng)), dtype=np.float32), *strangers[3:5]])
    findings = audit(home, release, policy)
    assert not findings.passed
    assert [match.track for match in findings.matches] == [track.path]
    assert (findings.samples, findings.copied) == (6, 1)


@pytest.fixture
def small_home(home_of, few_tracks):
    """Enough for what does not hang on how well copies are found."""
    return home_of(few_tracks, name="small")


class Known(NamedTuple):
    """Scores of uncopied music, the same for every kind of copy."""

    scores: np.ndarray
    tracks: np.ndarray


@pytest.fixture
def known(made_once, home, split, strangers):
    """What bounds follow from: held-out tracks, tracks trained on (by other groups), and the strangers'."""

    def fill(folder):
        store = SketchStore(home.cache)
        store.fill((*split.train, *split.held_out))
        known = [(sketched, group_of(track)) for track, sketched in store.load((*split.held_out, *split.train))]
        known += [(sketch(as_mono(audio, RATE)), "nobody's") for audio in strangers]
        parts = [as_sample(sketched, random.Random(number)) for number, (sketched, _) in enumerate(known)]
        groups = [group for some, (_, group) in zip(parts, known, strict=True) for _ in some]
        scores = compared_with(home, split, [each for some in parts for each in some], groups).scores
        tracks = np.repeat(np.arange(len(parts)), [len(some) for some in parts])
        np.savez(folder / "known.npz", scores=scores, tracks=tracks)

    with np.load(made_once("known to copy audits", fill) / "known.npz") as found:
        return Known(found["scores"], found["tracks"])


def compared_with(home, split, excerpts, groups):
    compared = Closest(excerpts, groups)
    for number, (track, sketched) in enumerate(SketchStore(home.cache).load(split.train)):
        compared.look_at(number, sketched, group_of(track))
    return compared


def test_every_kind_of_copy_is_found_at_many_seeds(home, split, known, copied):
    """All of each kind are found, and attributed to the right track."""
    rng = np.random.default_rng(2)
    chosen = rng.choice(len(split.train), COPIED, replace=False)
    planted, of = [], []
    for number, index in enumerate(chosen):
        found = list(excerpts(sketch(as_mono(copied(piece(split.train[index], rng)), RATE))))
        planted += found
        of += [number] * len(found)
    compared = compared_with(home, split, planted, [None] * len(planted))
    limits = bounds(known.scores, known.tracks, tested=compared.scores, false_alarms=0.01)
    exceeded = limits.exceeded(compared.scores)
    assert {of[number] for number in exceeded.nonzero()[0]} == set(range(COPIED))
    for number in range(COPIED):
        own = [k for k in range(len(planted)) if of[k] == number]
        for test in TESTS:
            assert compared.near[test, min(own, key=lambda k, test=test: compared.scores[test, k])] == chosen[number]


def test_music_of_others_passes(home, release, policy, strangers, makes):
    """All in one audit: its false-alarm rate is that of the whole audit."""
    makes(strangers)
    findings = audit(home, release, replace(policy, audit_samples=6))
    assert findings.samples == len(strangers) == 18
    assert findings.passed
    assert not findings.matches
    assert findings.tracks > 30
    assert findings.bounds.tracks >= 40


def test_noise_silence_and_an_untrained_generator_pass(small_home, release, policy, makes):
    makes([np.random.default_rng(3).standard_normal(LENGTH).astype(np.float32), np.zeros(LENGTH, np.float32)])
    assert audit(small_home, release, policy).passed


def test_held_out_tracks_pass_as_often_as_is_said(home, split, strangers):
    """Held-out tracks take turns: some calibrate, the others are tested as samples are."""
    store = SketchStore(home.cache)
    held = [sketched for _, sketched in store.load(split.held_out)]
    held += [sketch(as_mono(audio, RATE)) for audio in strangers]
    everything = [as_sample(each, random.Random(number)) for number, each in enumerate(held)]
    flat = [each for some in everything for each in some]
    scores = closest(flat, (sketched for _, sketched in store.load(split.train))).scores
    of = np.repeat(np.arange(len(held)), [len(some) for some in everything])
    rng, failed, turns = np.random.default_rng(4), 0, 60
    for _ in range(turns):
        order = rng.permutation(len(held))
        tested = np.isin(of, order[:3])
        limits = bounds(scores[:, ~tested], of[~tested], tested=scores[:, tested], false_alarms=0.01)
        failed += bool(limits.exceeded(scores[:, tested]).any())
    assert failed <= 0.02 * turns


def test_what_makes_no_music_is_not_audited(home, policy, publish, config):
    from sottovoce.models import discovery
    from sottovoce.release.load import load

    style = config.changed(task="style", family="svm", feature_spec=discovery.spec_of("style", "svm").digest)
    with pytest.raises(ReleaseError, match="task 'style'"):
        audit(home, load(publish(config=style)), policy)


def test_without_tracks_there_is_no_verdict(home_of, release, policy, tmp_path, catalogue, makes, strangers):
    makes(strangers)
    with pytest.raises(CatalogueError, match="no catalogue"):
        audit(home_of(), release, policy)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(CatalogueError, match="empty"):
        audit(home_of(tmp_path / "nothing", name="second"), release, policy)
    few = tmp_path / "few"
    for number, path in enumerate(sorted(catalogue.rglob("*.wav"))[:3]):
        (few / "blues").mkdir(parents=True, exist_ok=True)
        (few / "blues" / f"{number}.wav").write_bytes(path.read_bytes())
    (few / "catalogue.csv").write_text(
        "path,style,consent\n" + "".join(f"blues/{number}.wav,blues,generator\n" for number in range(3))
    )
    with pytest.raises(CatalogueError, match=r"Too few tracks|trained on no"):
        audit(home_of(few, name="third"), release, policy)


def test_a_track_without_consent_is_not_looked_at(home_of, small_home, release, policy, few_tracks, tmp_path, makes):
    """A copy of it passes: the label never allowed training on it."""
    own, track = tmp_path / "own", tracks_of(small_home, release).train[0]
    rows = (few_tracks / "catalogue.csv").read_text(encoding="utf-8").splitlines()
    relative = track.path.relative_to(few_tracks).as_posix()
    shutil.copytree(few_tracks, own)
    changed = [row.replace(",generator", ",style") if row.startswith(f"{relative},") else row for row in rows]
    assert changed != rows
    (own / "catalogue.csv").write_text("\n".join(changed), encoding="utf-8")
    makes([piece(track, np.random.default_rng(0))])
    findings = audit(home_of(own, name="second"), release, policy)
    assert all(match.track.name != track.path.name for match in findings.matches)


def test_an_interrupted_audit_leaves_nothing_half_done(
    home_of, few_tracks, release, policy, makes, strangers, monkeypatch, empty_cache
):
    home = home_of(few_tracks, cache=empty_cache, name="second")
    makes(strangers)
    whole, count = SketchStore.put, iter(range(100))

    def put(store, digest, sketched):
        if next(count) == 7:
            raise KeyboardInterrupt
        whole(store, digest, sketched)

    monkeypatch.setattr(SketchStore, "put", put)
    with pytest.raises(KeyboardInterrupt):
        audit(home, release, policy, workers=1)
    monkeypatch.undo()
    kept = [path for path in (empty_cache / "copying").rglob("*") if path.is_file()]
    assert len(kept) == 7
    assert all(SketchStore(empty_cache).get(path.name) is not None for path in kept)
    assert not home.diary.notes()
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in kept)


def test_a_damaged_sketch_is_made_anew(home, split, empty_cache):
    store, track = SketchStore(empty_cache), split.train[0]
    assert not store.fill([track])
    (place,) = (path for path in empty_cache.rglob(track.digest))
    good = place.read_bytes()
    for bad in (b"", good[:-1], good[:40], good[:-1] + bytes([good[-1] ^ 1])):
        place.write_bytes(bad)
        assert store.get(track.digest) is None
        ((_, sketched),) = store.load([track])
        assert np.array_equal(sketched.chroma, sketch_file(track.path).chroma)
        assert place.read_bytes() == good


def test_a_sketch_is_small_and_progress_is_reported(home, split, empty_cache):
    told = []
    SketchStore(empty_cache).fill(split.held_out, progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, len(split.held_out))
    assert told[-1] == (len(split.held_out), len(split.held_out))
    size = sum(path.stat().st_size for path in empty_cache.rglob("*") if path.is_file())
    assert size < 450 * sum(track.seconds for track in split.held_out)


def test_nothing_of_a_track_is_logged(small_home, release, policy, makes, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    tracks = tracks_of(small_home, release).train
    makes([piece(tracks[0], np.random.default_rng(0))])
    findings = audit(small_home, release, policy)
    assert not findings.passed
    said = caplog.text + "".join(capfd.readouterr())
    for track in tracks:
        assert track.path.name not in said
        assert track.digest not in said
        assert not track.title or track.title not in said
