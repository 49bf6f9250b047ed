import os
import stat
import time
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest

from sottovoce.audio.reject_reason import RejectReason
from sottovoce.errors import AudioError
from sottovoce.features.extract import Features, default_spec, extract_file
from sottovoce.features.spec import View
from sottovoce_client.data import parallel_extraction
from sottovoce_client.data.feature_cache import FeatureCache

DIGEST = "ab" * 32


def made(seed=0, segments=3):
    rng = np.random.default_rng(seed)
    summary = rng.standard_normal((segments, 20)).astype(np.float32)
    log_mel = rng.standard_normal((segments, 96, 173)).astype(np.float16)
    return Features({View.SUMMARY: summary, View.LOG_MEL: log_mel})


def same(one, other):
    return one is not None and all(
        np.array_equal(one.view(view), other.view(view)) and one.view(view).dtype == other.view(view).dtype
        for view in one.views
    )


def entries(root):
    return sorted(path for path in root.rglob("*") if path.is_file())


@pytest.fixture
def root(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def cache(root):
    return FeatureCache(root)


@pytest.fixture
def track(write, music, source):
    return source(write(music(9.0, 22_050), "private artist/private title.flac", rate=22_050))


def test_what_is_put_is_got(cache, spec):
    assert cache.get(DIGEST, spec) is None
    cache.put(DIGEST, spec, made())
    assert same(cache.get(DIGEST, spec), made())


def test_loaded_arrays_may_be_written_to(cache, spec):
    """Torch takes them without a copy, and warns about arrays that may not."""
    cache.put(DIGEST, spec, made())
    assert cache.get(DIGEST, spec).summary.flags.writeable


def test_another_spec_or_file_is_a_miss(cache, spec):
    cache.put(DIGEST, spec, made())
    assert cache.get(DIGEST, replace(spec, loudness=-23.0)) is None
    assert cache.get("cd" * 32, spec) is None


def test_a_new_value_replaces_the_old(cache, spec):
    cache.put(DIGEST, spec, made(1))
    cache.put(DIGEST, spec, made(2))
    assert same(cache.get(DIGEST, spec), made(2))


@pytest.mark.parametrize("view", default_spec().views)
@pytest.mark.parametrize("place", [0, 33, 44, 2000, -1])
def test_one_wrong_bit_is_a_miss(cache, root, spec, view, place):
    cache.put(DIGEST, spec, made())
    path = next(path for path in entries(root) if view in path.parts)
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1
    path.write_bytes(data)
    assert cache.get(DIGEST, spec) is None
    cache.put(DIGEST, spec, made())
    assert same(cache.get(DIGEST, spec), made())


@pytest.mark.parametrize("length", [0, 10, 44, 100])
def test_a_part_of_an_entry_is_a_miss(cache, root, spec, length):
    cache.put(DIGEST, spec, made())
    for path in entries(root):
        path.write_bytes(path.read_bytes()[:length])
    assert cache.get(DIGEST, spec) is None


def test_an_entry_under_another_name_is_a_miss(cache, root, spec):
    cache.put(DIGEST, spec, made())
    for path in entries(root):
        other = path.parent.parent / "cd" / ("cd" * 32)
        other.parent.mkdir()
        path.rename(other)
    assert cache.get("cd" * 32, spec) is None


def test_only_the_owner_may_read(cache, root, spec):
    cache.put(DIGEST, spec, made())
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in entries(root)} == {0o600}


def test_no_name_of_a_track_is_kept(cache, root, spec, track):
    cache.features_of(track.path, track.digest, spec)
    for path in entries(root):
        assert "private" not in str(path.relative_to(root))
        assert b"private" not in path.read_bytes()


def test_features_from_the_cache_equal_those_computed(cache, spec, track):
    computed = cache.features_of(track.path, track.digest, spec)
    assert same(computed, extract_file(track.path, spec))
    assert same(cache.features_of(track.path, track.digest, spec), computed)


def test_a_cached_track_is_not_opened_again(cache, spec, track):
    features = cache.features_of(track.path, track.digest, spec)
    track.path.unlink()
    assert same(cache.features_of(track.path, track.digest, spec), features)


def test_a_file_that_changed_since_the_scan_is_not_kept_under_the_old_name(cache, spec, track, write, music, root):
    write(music(9.0, 22_050, seed=5), "private artist/private title.flac", rate=22_050)
    with pytest.raises(AudioError, match="changed") as caught:
        cache.features_of(track.path, track.digest, spec)
    assert caught.value.reason is RejectReason.CHANGED
    assert entries(root) == []


def test_filling_reports_what_cannot_be_used_and_continues(cache, spec, track, write, source, tmp_path):
    silent = source(write(np.zeros(400_000), "silent.flac"))
    (tmp_path / "junk.mp3").write_bytes(b"junk")
    junk = source(tmp_path / "junk.mp3")
    told = []
    filled = cache.fill([silent, track, junk], spec, workers=1, progress=lambda *each: told.append(each))
    assert (filled.known, filled.computed) == (0, 1)
    assert filled.unusable == {silent.digest: RejectReason.SILENT, junk.digest: RejectReason.NOT_AUDIO}
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert cache.fill([track], spec).known == 1


def test_loading_keeps_the_order_and_mends_what_is_damaged(cache, root, spec, track, write, music, source):
    other = source(write(music(9.0, 22_050, seed=9), "other.flac", rate=22_050))
    gone = replace(other, path=root / "gone.flac", digest="ef" * 32)
    tracks = [other, gone, track]
    cache.fill(tracks, spec, workers=1)
    damaged = next(path for path in entries(root) if path.name == track.digest and View.SUMMARY in path.parts)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    first, none, second = cache.load_view(tracks, spec, View.SUMMARY)
    assert none is None
    assert np.array_equal(first, extract_file(other.path, spec).summary)
    assert np.array_equal(second, extract_file(track.path, spec).summary)
    track.path.unlink()
    assert cache.get(track.digest, spec) is not None


def test_what_a_killed_writer_left_is_swept_up_but_not_what_a_living_one_writes(cache, root):
    old, new = root / "partial" / "old", root / "partial" / "new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    FeatureCache(root)
    assert not old.exists()
    assert new.exists()


def _write_for_ever(root, spec):
    cache = FeatureCache(root)
    while True:
        for number in range(40):
            cache.put(f"{number:064x}", spec, made(number))


@pytest.mark.slow
def test_a_killed_writer_leaves_whole_entries_or_none(root, spec, fork, eventually):
    found = 0
    for _ in range(3):
        writer = fork(_write_for_ever, root, spec)
        eventually(lambda: list(entries(root)), "it has written", alive=writer.alive)
        time.sleep(0.1)  # so that it is killed anywhere
        writer.end()
        cache = FeatureCache(root)
        for number in range(40):
            features = cache.get(f"{number:064x}", spec)
            if features is not None:
                found += 1
                assert same(features, made(number))
        names = [path.name for path in entries(root) if "partial" not in path.parts]
        assert all(len(name) == 64 for name in names)
    assert found > 0


def _write_often(root, spec, digest, read_enough):
    cache = FeatureCache(root)
    while not read_enough.is_set():
        for seed in (0, 1):
            cache.put(digest, spec, made(seed))


@pytest.mark.slow
def test_concurrent_writers_never_mix(root, spec):
    """Each view read is whole: one writer's or the other's."""
    cache, context = FeatureCache(root), get_context("fork")
    read, read_enough = 0, context.Event()
    writers = [context.Process(target=_write_often, args=(root, spec, DIGEST, read_enough)) for _ in range(3)]
    for writer in writers:
        writer.start()
    while read < 60 and all(writer.is_alive() for writer in writers):
        features = cache.get(DIGEST, spec)
        if features is not None:
            read += 1
            assert any(np.array_equal(features.summary, made(seed).summary) for seed in (0, 1))
            assert any(np.array_equal(features.log_mel, made(seed).log_mel) for seed in (0, 1))
    read_enough.set()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert read == 60


@pytest.mark.slow
def test_filling_with_processes_gives_the_same_numbers(cache, spec, write, music, source, monkeypatch):
    monkeypatch.setattr(parallel_extraction, "WORTH_PROCESSES", 4)
    tracks = [source(write(music(4.5, 22_050, seed=seed), f"{seed}.wav", rate=22_050)) for seed in range(9)]
    silent = source(write(np.zeros(100_000), "silent.wav", rate=22_050))
    filled = cache.fill([*tracks, silent], spec, workers=2)
    assert filled.computed == 9
    assert filled.unusable == {silent.digest: RejectReason.SILENT}
    for track in tracks:
        assert same(cache.get(track.digest, spec), extract_file(track.path, spec))
