"""The work itself on hostile files and requests: each ends in words, and within limits, before much is decoded."""

import struct
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from sottovoce.errors import SottovoceError
from sottovoce_server.studio.schema import Kind
from sottovoce_server.studio.settings import Limits
from sottovoce_server.studio.work import Warm, Work

RATE = 8_000
LIMITS = Limits(longest_seconds=5)


def tone(seconds, channels=1):
    time = np.arange(round(seconds * RATE)) / RATE
    return np.repeat((0.1 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)[:, None], channels, axis=1)


@pytest.fixture
def carry_out(tmp_path, shelf):
    """Do a job with a file; the model is a style release."""
    found = shelf.find("isles-style")
    warm = Warm()

    def do(data, kind=Kind.CLASSIFICATION, *, name="upload.wav", parameters=None, model=True):
        (tmp_path / name).write_bytes(data)
        sources = {"model": [str(found.folder), found.digest]} if model else {}
        job = SimpleNamespace(id="0", kind=kind, claim=1, parameters=parameters or {}, sources=sources)
        try:
            return Work(LIMITS, warm).carry_out(job, tmp_path, lambda *_: None)
        finally:
            (tmp_path / name).unlink(missing_ok=True)

    do.folder, do.warm, do.model = tmp_path, warm, found
    return do


@pytest.fixture
def written(tmp_path):
    def write(samples, form, rate=RATE):
        file = tmp_path / f"made.{form}"
        soundfile.write(file, samples, rate)
        data = file.read_bytes()
        file.unlink()
        return data

    return write


def flac_of_length(data, frames):
    """A FLAC file whose header says so many frames."""
    facts = int.from_bytes(data[18:26], "big") >> 36 << 36
    return data[:18] + (facts | frames).to_bytes(8, "big") + data[26:]


@pytest.mark.parametrize("kind", [Kind.CLASSIFICATION, Kind.INSPECTION, Kind.EDIT])
def test_hours_of_silence_in_a_small_file_are_refused_before_they_are_decoded(carry_out, written, kind, monkeypatch):
    bomb = written(np.zeros(RATE * 1800, np.int16), "flac")
    assert len(bomb) < 50_000
    monkeypatch.setattr("soundfile.SoundFile.read", lambda *_, **__: pytest.fail("it is decoded"))
    with pytest.raises(SottovoceError, match="lasts 1800 s; at most 5 s"):
        carry_out(bomb, kind, name="upload.flac", parameters={"gain": -3.0} if kind is Kind.EDIT else None, model=False)


def test_a_thousand_channels_are_refused(carry_out, written):
    with pytest.raises(SottovoceError, match="1000 channels"):
        carry_out(written(np.zeros((100, 1000), np.int16), "wav"))


@pytest.mark.parametrize("frames", [0, RATE * 4, RATE * 1_000_000, (1 << 36) - 1])
def test_a_header_that_lies_about_the_length_decodes_no_more_than_is_allowed(carry_out, written, frames, monkeypatch):
    decoded = []
    read = soundfile.SoundFile.read

    def counting(file, *arguments, **options):
        block = read(file, *arguments, **options)
        decoded.append(len(block))
        return block

    monkeypatch.setattr("soundfile.SoundFile.read", counting)
    lying = flac_of_length(written(tone(60), "flac"), frames)
    with suppress(SottovoceError):
        carry_out(lying, name="upload.flac")
    assert sum(decoded) <= LIMITS.longest_seconds * RATE


@pytest.mark.parametrize("size", [0, 2, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("rate", [1, RATE, 0xFFFFFFFF])
def test_a_wave_header_that_lies_ends_in_words_or_a_result(carry_out, written, size, rate):
    data = bytearray(written(tone(4.5), "wav"))
    data[24:28], data[40:44] = struct.pack("<I", rate), struct.pack("<I", size)
    result = {}
    with suppress(SottovoceError):
        result, _ = carry_out(bytes(data))
    assert not result or (rate == RATE and result["style"] in carry_out.model.manifest.classes)


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"fLaC" + bytes(100), b"OggS" + bytes(100), b"\xff\xfb" * 500, b"[]" * 99]
)
@pytest.mark.parametrize("kind", [Kind.CLASSIFICATION, Kind.INSPECTION])
def test_what_is_no_audio_is_said(carry_out, data, kind):
    for name in ("upload.wav", "upload.mp3", "upload.audio"):
        with pytest.raises(SottovoceError):
            carry_out(data, kind, name=name)


@pytest.mark.parametrize(
    "parameters",
    [
        {"stretch": 1e-6},
        {"stretch": 0.01},
        {"extend": 1e9},
        {"extend": 100.0},
        {"pitch": 1e6},
        {"gain": 1e9},
        {"fade_in": 1e9},
        {"trim": "-5:1e9"},
        {"trim": "nan:nan"},
        {"repair": ["0:1e9"]},
        {"repair": ["0:1"] * 5000},
        {"eq": ["1:1"] * 5000},
        {"compress": "-1e9:1e9"},
        {"denoise": 2.0},
        {"method": "../x"},
    ],
    ids=lambda asked: next(iter(asked)),
)
def test_an_edit_makes_no_more_than_is_allowed(carry_out, written, parameters):
    made = []
    with suppress(SottovoceError):
        _, made = carry_out(written(tone(1), "wav"), Kind.EDIT, parameters=parameters, model=False)
    assert sum(each.seconds for each in made) <= LIMITS.longest_seconds


def test_a_release_that_is_gone_or_another_is_said(carry_out, written, tmp_path):
    music = written(tone(4.5), "wav")
    assert carry_out(music)[0]["style"]
    for warm in (Warm(), carry_out.warm):
        with pytest.raises(SottovoceError, match="withdrawn"):
            warm.model(str(tmp_path / "gone"), carry_out.model.digest)
    with pytest.raises(SottovoceError, match="replaced"):
        Warm().model(str(carry_out.model.folder), "0" * 64)


def test_only_so_many_releases_stay_loaded(shelf):
    warm = Warm(most=1)
    style, maker = shelf.find("isles-style"), shelf.find("isles-maker")
    first = warm.model(str(style.folder), style.digest)
    assert warm.model(str(style.folder), style.digest) is first
    warm.model(str(maker.folder), maker.digest)
    assert warm.model(str(style.folder), style.digest) is not first
