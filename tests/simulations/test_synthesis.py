import csv
import json
import os
import signal
from pathlib import Path

import mutagen
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from sottovoce.cli import app
from sottovoce.errors import ConfigurationError, UserError
from sottovoce_simulations.engine import owned_folders
from sottovoce_simulations.synthesis import STYLES, synthesise
from sottovoce_simulations.synthesis.artist import Artist
from sottovoce_simulations.synthesis.catalogue_plan import LABELS_A_STYLE, Request, plan
from sottovoce_simulations.synthesis.palette import PALETTE
from sottovoce_simulations.synthesis.theory import SCALES, nearest, triad, voicing
from sottovoce_simulations.synthesis.track import Track, perform
from sottovoce_simulations.synthesis.voices import Player, frequency

SMALL = {"labels": 2, "tracks": 10, "seconds": (1.0, 1.5), "styles": ("blues", "techno")}


def request(labels=3, tracks=20, seconds=(1.0, 2.0), seed=1, styles=tuple(STYLES), skew=1.0, eccentric=0.1):
    return Request(labels, tracks, seconds, seed, styles, skew, eccentric)


def audio(root: Path) -> dict[str, np.ndarray]:
    return {
        path.relative_to(root).as_posix(): soundfile.read(path)[0]
        for path in root.rglob("*")
        if path.suffix in (".flac", ".ogg", ".wav")
    }


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthesis") / "music"
    return synthesise(root, **SMALL, workers=1)


def test_the_folder_holds_what_its_sheets_say(music):
    assert music.labels == ("label-01", "label-02")
    assert not music.reused
    assert sum(music.styles.values()) == music.tracks == 20
    for label in music.labels:
        rows = list(csv.DictReader((music.root / label / "catalogue.csv").open(encoding="utf-8")))
        assert len(rows) == 10
        assert {row["path"] for row in rows} == set(audio(music.root / label))
        for row in rows:
            style, artist, name = row["path"].split("/")
            assert row["style"] == style
            assert all((artist, name, row["artist"], row["title"], row["album"]))


def test_a_label_scans_as_a_catalogue_with_nothing_unusable(music, tmp_path):
    from sottovoce_client.catalogue import scan

    found = scan(music.root / "label-01", index=tmp_path / "index.sqlite", segment_seconds=1.0)
    assert not found.unusable
    assert len(found.tracks) == 10
    assert all(track.artist and track.isrc for track in found.tracks)


def test_tracks_are_as_long_as_asked_finite_and_neither_silent_nor_clipped(music):
    for path in music.root.rglob("*"):
        if path.suffix not in (".flac", ".ogg", ".wav"):
            continue
        sound, rate = soundfile.read(path)
        assert 1.0 - 1e-3 <= len(sound) / rate <= 1.5 + 1e-3
        assert np.isfinite(sound).all()
        assert np.sqrt(np.mean(sound**2)) > 0.005
        assert np.mean(np.abs(sound) > 0.999) < 1e-3


def test_tags_say_what_the_sheet_says(music):
    tagged = 0
    for label in music.labels:
        for row in csv.DictReader((music.root / label / "catalogue.csv").open(encoding="utf-8")):
            tags = mutagen.File(music.root / label / row["path"]).tags
            if not tags or "TIT2" in tags:
                continue
            if "artist" in tags:
                tagged += 1
                assert tags["artist"] == [row["artist"]]
                assert tags["title"] == [row["title"]]
                assert tags["isrc"] == [row["isrc"]]
                assert tags["genre"] == [row["style"]]
    assert 0 < tagged < music.tracks


@pytest.mark.parametrize("suffix", ["flac", "ogg", "wav"])
def test_every_format_carries_its_tags(suffix, tmp_path):
    from sottovoce_client.catalogue.embedded_tags import read_tags
    from sottovoce_simulations.synthesis.track import write

    track = a_track("waltz", 1, path=f"a.{suffix}", tagged=True)
    write(track, tmp_path)
    tags = read_tags(tmp_path / track.path)
    assert (tags.title, tags.artist, tags.album, tags.genre, tags.isrc) == (
        track.title,
        track.artist.name,
        track.album,
        "waltz",
        track.isrc,
    )


def a_track(style, seed, *, path="a.flac", tagged=False, seconds=1.0):
    artist = Artist.invent(seed, eccentric=0.2)
    return Track(path, style, artist, "Title", "Album", "QZS000000001", "", tagged, seconds, seed)


def test_the_same_seed_gives_the_same_samples_whatever_the_workers(music, tmp_path):
    again = audio(synthesise(tmp_path / "again", **SMALL, workers=2).root)
    first = audio(music.root)
    assert first.keys() == again.keys()
    assert all(np.array_equal(first[name], again[name]) for name in first)
    other = audio(synthesise(tmp_path / "other", **SMALL, seed=2, workers=1).root)
    assert not first.keys() & other.keys()


@pytest.mark.parametrize("style", STYLES)
def test_every_style_plays_and_depends_on_its_seed(style):
    first = perform(a_track(style, 5))
    assert np.array_equal(first, perform(a_track(style, 5)))
    other = perform(a_track(style, 6))
    assert first.shape != other.shape or not np.allclose(first, other)


@given(
    st.integers(2, 8),
    st.integers(9, 60),
    st.floats(0.02, 50),
    st.integers(0, 2**40),
    st.integers(2, len(STYLES)),
)
def test_every_label_has_its_tracks_and_every_style_two_labels(labels, tracks, skew, seed, styles):
    planned = plan(request(labels, tracks, seed=seed, skew=skew, styles=tuple(STYLES)[:styles]))
    assert [len(label) for label in planned] == [tracks] * labels
    for style in tuple(STYLES)[:styles]:
        assert sum(any(track.style == style for track in label) for label in planned) >= LABELS_A_STYLE
    homes: dict[str, tuple[int, str]] = {}
    for number, label in enumerate(planned):
        assert len({track.path for track in label}) == tracks
        for track in label:
            assert homes.setdefault(track.artist.name, (number, track.style)) == (number, track.style)
    isrcs = [track.isrc for label in planned for track in label]
    assert len(set(isrcs)) == len(isrcs)


def test_a_smaller_skew_spreads_styles_more_unevenly():
    def unevenness(skew):
        return np.mean(
            [
                max(sum(track.style == style for track in label) for style in STYLES) / len(label)
                for seed in range(5)
                for label in plan(request(5, 60, seed=seed, skew=skew))
            ]
        )

    assert unevenness(0.2) > unevenness(1.0) > unevenness(100.0)


def test_the_same_request_is_taken_as_it_is_and_another_replaces_it(music, tmp_path, monkeypatch):
    root = tmp_path / "music"
    asked = {"labels": 1, "tracks": 2, "seconds": (1, 1), "styles": ("ambient",), "workers": 1}
    assert not synthesise(root, **asked).reused
    inode = root.stat().st_ino
    assert synthesise(root, **asked).reused
    assert root.stat().st_ino == inode
    next(root.rglob("01-*")).unlink()  # somebody removed a track: it is made again
    assert not synthesise(root, **asked).reused
    assert not synthesise(root, **{**asked, "tracks": 3}).reused
    assert len(audio(root)) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["music"]


def test_what_somebody_else_made_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "song.flac").write_bytes(b"mine")
    (tmp_path / "file").write_bytes(b"mine")
    for name in ("mine", "file"):
        with pytest.raises(ConfigurationError, match="was not created by this command"):
            synthesise(tmp_path / name, **SMALL)
    assert (tmp_path / "mine" / "song.flac").read_bytes() == b"mine"
    (tmp_path / "empty").mkdir()
    assert synthesise(tmp_path / "empty", labels=1, tracks=1, seconds=(1, 1), styles=("march",)).tracks == 1


def test_a_failure_leaves_nothing_and_keeps_what_was_there(tmp_path, monkeypatch):
    root = tmp_path / "music"
    asked = {"labels": 1, "tracks": 2, "seconds": (1, 1), "styles": ("ambient",), "workers": 1}
    synthesise(root, **asked)
    before = audio(root)

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sottovoce_simulations.synthesis.catalogues.write", fails)
    with pytest.raises(UserError, match="No space is left"):
        synthesise(root, **{**asked, "seed": 9})
    with pytest.raises(UserError, match="No space is left"):
        synthesise(tmp_path / "new", **asked)
    assert audio(root).keys() == before.keys()
    assert [path.name for path in tmp_path.iterdir()] == ["music"]


def test_no_space_is_noticed_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(owned_folders.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(UserError, match=r"needs about .* GB, but only 0.0 GB are free"):
        synthesise(tmp_path / "music", **SMALL)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(UserError, match="cannot be written: Permission denied"):
        synthesise(tmp_path / "locked" / "music", **SMALL)


def test_a_path_through_a_file_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be created: .*file is a file"):
        synthesise(tmp_path / "file" / "music", **SMALL)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": 0}, "labels=0 from 1"),
        ({"labels": 1001}, "labels=1001 from 1 to 1000"),
        ({"tracks": 0}, "tracks=0 from 1"),
        ({"seconds": (0.5, 2)}, "seconds=.* from 1 to 600"),
        ({"seconds": (3, 2)}, "the shorter first"),
        ({"seconds": (float("nan"), 2)}, "seconds="),
        ({"seed": -1}, "seed=-1 >= 0"),
        ({"skew": 0}, "skew=0.0 > 0"),
        ({"skew": float("inf")}, "skew=inf"),
        ({"eccentric": 1.5}, "eccentric=1.5 from 0 to 1"),
        ({"styles": ()}, "to be some different ones"),
        ({"styles": ("blues", "blues")}, "to be some different ones"),
        ({"styles": ("polka",)}, "Unknown style 'polka'"),
        ({"labels": 3, "tracks": 5}, "are too few for 9 styles"),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        request(**changes)


def test_the_command_tells_what_it_made_and_that_it_was_there(tmp_path):
    asked = ["synthesise", str(tmp_path / "music"), "--labels", "2", "--tracks", "9", "--seconds", "1.25", "--json"]
    first = CliRunner().invoke(app, asked)
    assert first.exit_code == 0, first.output
    said = json.loads(first.stdout)
    assert (said["labels"], said["tracks"], said["reused"]) == (["label-01", "label-02"], 18, False)
    assert json.loads(CliRunner().invoke(app, asked).stdout)["reused"]
    table = CliRunner().invoke(app, asked[:-1])
    assert "already created" in table.stdout
    assert "gamelan" in table.stdout


def test_the_command_refuses_with_exit_code_2(tmp_path):
    refused = CliRunner().invoke(app, ["synthesise", str(tmp_path), "--tracks", "0"])
    assert refused.exit_code == 2
    assert "Expected tracks=0" in refused.stderr
    (tmp_path / "mine").touch()
    refused = CliRunner().invoke(app, ["synthesise", str(tmp_path)])
    assert refused.exit_code == 2
    assert "was not created by this command" in refused.stderr
    assert "Hint:" in refused.stderr


@pytest.mark.slow
def test_an_interrupt_leaves_nothing(program, tmp_path, eventually):
    running = program("synthesise", tmp_path / "music", "--tracks", 400, session=True)
    eventually(
        lambda: any(path.suffix == ".flac" for path in tmp_path.rglob("*")),
        "a track is made",
        alive=running.alive,
    )
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to every process
    assert running.wait() == 130
    assert "Traceback" not in running.stderr
    assert not list(tmp_path.iterdir())


def loudest(sound, rate):
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return np.argmax(spectrum) * rate / len(sound)


@pytest.mark.parametrize("name", ["square", "triangle", "flute", "vibraphone", "marimba"])
def test_instruments_play_in_tune(name):
    sound = Player(PALETTE[name], 22_050, np.random.default_rng(0)).note(69, 1.0)
    assert loudest(sound[:22_050], 22_050) == pytest.approx(440, rel=0.01)


def test_waves_hold_no_more_than_the_sample_rate_can():
    sound = Player(PALETTE["square"], 22_050, np.random.default_rng(0)).note(93, 1.0)[2000:20_000]
    spectrum = np.abs(np.fft.rfft(sound * np.blackman(len(sound)))) ** 2
    hertz = np.fft.rfftfreq(len(sound), 1 / 22_050)
    harmonics = np.abs(hertz / frequency(93) - np.round(hertz / frequency(93))) * frequency(93) < 25
    assert spectrum[~harmonics].sum() < 1e-3 * spectrum.sum()


def test_notes_die_away_after_their_key_is_let_go():
    for voice in PALETTE.values():
        sound = Player(voice, 8000, np.random.default_rng(0)).note(60, 0.4)
        assert np.isfinite(sound).all()
        assert np.abs(sound[-20:]).max() < 0.01 * np.abs(sound).max()


def test_chords_and_voicings():
    assert triad(SCALES["major"], 48, 4, 4) == [55, 59, 62, 65]
    assert nearest([48, 52, 55], 70) == 72
    notes = voicing([48, 52, 55], 60, 4)
    assert notes == sorted(notes)
    assert len(set(notes)) == 4
    assert {note % 12 for note in notes} == {0, 4, 7}
