import os

import numpy as np
import pytest
import soundfile
import torch

from sottovoce.audio.decoding import MAX_SECONDS, inspect, probe, read
from sottovoce.audio.reject_reason import RejectReason
from sottovoce.errors import AudioError
from sottovoce.studio.editing.dropouts import find_gaps
from sottovoce.studio.editing.pipeline import opened

RATES = (8_000, 11_025, 16_000, 22_050, 32_000, 44_056, 44_100, 48_000, 88_200, 96_000, 192_000)


def sine(hertz, seconds, rate, level=0.5):
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def refused(path, use=inspect):
    with pytest.raises(AudioError) as caught:
        use(path)
    assert str(path) not in caught.value.message
    assert path.name not in caught.value.message
    return caught.value.reason


def test_every_format_is_read(write, extension, music):
    wave = music(rate=48_000)
    path = write(wave, f"a.{extension}", rate=48_000)
    facts = inspect(path)
    assert facts.seconds == pytest.approx(9, abs=0.06)
    assert (facts.sample_rate, facts.channels) == (48_000, 1)
    assert probe(path).seconds == pytest.approx(9, abs=0.06)
    found = read(path, 48_000).numpy()[10_000:200_000]
    assert np.corrcoef(wave[10_000:200_000], found)[0, 1] > 0.99


@pytest.mark.parametrize("rate", RATES)
def test_every_rate_keeps_pitch_and_level(write, rate):
    samples = read(write(sine(1000, 2, rate), rate=rate), 22_050)
    assert samples.dtype == torch.float32
    assert len(samples) == pytest.approx(2 * 22_050, abs=2)
    spectrum = torch.fft.rfft(samples[:22_050] * torch.hann_window(22_050)).abs()
    assert int(spectrum.argmax()) == 1000
    assert float(samples[1000:-1000].abs().max()) == pytest.approx(0.5, abs=0.01)


def at_rate(path, rate):
    """The same file, whose header says another rate."""
    content = bytearray(path.read_bytes())
    content[24:28] = rate.to_bytes(4, "little")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("rate", [1, 999, 768_001, 100_000_000, 2**31 - 1])
@pytest.mark.parametrize("use", [probe, inspect, lambda path: read(path, 22_050), opened, find_gaps])
def test_a_rate_that_is_of_no_music_is_refused(write, rate, use):
    assert refused(at_rate(write(sine(440, 1, 22_050), rate=22_050), rate), use) is RejectReason.SAMPLE_RATE


@pytest.mark.parametrize("rate", [1_000, 768_000])
def test_the_lowest_and_the_highest_rate_are_read(write, rate):
    assert len(read(write(sine(440, 1, rate), rate=rate), 22_050)) == pytest.approx(22_050, abs=1)


def test_what_lies_above_the_new_rate_is_not_folded_down(write):
    samples = read(write(sine(15_000, 2, 48_000), rate=48_000), 22_050)
    assert float(samples[1000:-1000].abs().max()) < 0.005


@pytest.mark.parametrize("channels", [1, 2, 8])
def test_channels_are_averaged(write, channels):
    wave = np.stack([sine(440, 1, 22_050, level=0.1 * (channel + 1)) for channel in range(channels)], axis=1)
    samples = read(write(wave, rate=22_050), 22_050).numpy()
    assert np.allclose(samples, wave.mean(axis=1), atol=1e-4)
    assert inspect(write(wave, rate=22_050)).channels == channels


def test_channels_that_cancel_are_silent(write):
    wave = sine(440, 1, 22_050)
    assert refused(write(np.stack([wave, -wave], axis=1))) is RejectReason.SILENT


def test_an_empty_file(tmp_path):
    path = tmp_path / "private name.wav"
    path.touch()
    assert refused(path) is RejectReason.EMPTY


def test_a_file_without_samples(write):
    assert refused(write(np.zeros(0))) is RejectReason.EMPTY


@pytest.mark.parametrize("use", [inspect, lambda path: read(path, 22_050)])
def test_silence(write, use):
    assert refused(write(np.zeros(22_050)), use) is RejectReason.SILENT
    assert refused(write(sine(440, 1, 44_100, level=5e-5), encoding="FLOAT"), use) is RejectReason.SILENT


def test_quiet_music_is_no_silence(write):
    assert inspect(write(sine(440, 1, 44_100, level=1e-3), encoding="FLOAT")).frames == 44_100


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf, 1e20])
def test_numbers_that_are_no_samples(write, broken):
    wave = sine(440, 1, 44_100)
    wave[30_000] = broken
    assert refused(write(wave, encoding="FLOAT")) is RejectReason.NOT_FINITE


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_file(write, extension, music, share):
    path = write(music(rate=48_000), f"a.{extension}", rate=48_000)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert refused(path) is RejectReason.TRUNCATED
    assert refused(path, lambda path: read(path, 22_050)) is RejectReason.TRUNCATED


def test_a_stream_of_unknown_length_is_not_truncated(write, music):
    path = write(music())
    data = bytearray(path.read_bytes())
    data[4:8] = b"\xff" * 4
    path.write_bytes(data)
    assert inspect(path).seconds == pytest.approx(9)


@pytest.mark.parametrize("damaged", ["wav", "flac", "ogg", "opus"])
def test_a_damaged_header(write, music, damaged):
    path = write(music(rate=48_000), f"a.{damaged}", rate=48_000)
    data = bytearray(path.read_bytes())
    data[4:60] = bytes(56)
    path.write_bytes(data)
    assert refused(path) is RejectReason.CORRUPT


def test_damage_in_the_middle(write, music):
    path = write(music(), "a.flac")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    path.write_bytes(data)
    assert refused(path) is RejectReason.CORRUPT


@pytest.mark.parametrize(
    "content",
    [
        b"%PDF-1.7 not music",
        b"x",
        b"\xff",
        b"\x00" * 5000,
        b"\xff\xd8\xff\xe0 a picture" * 50,
        b"PK\x03\x04" + bytes(99),
    ],
)
def test_what_is_not_audio(tmp_path, content):
    path = tmp_path / "cover.mp3"
    path.write_bytes(content)
    assert refused(path) is RejectReason.NOT_AUDIO


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.opus", "a.mp3"])
def test_no_damage_whatsoever_gets_past_the_error(write, music, name):
    """Random damage is found or survived; only an AudioError may come out of it."""
    path = write(music(2.0, 48_000), name, rate=48_000)
    whole = path.read_bytes()
    rng = np.random.default_rng(7)
    for _ in range(25):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), int(rng.integers(1, 60))):
            data[place] = rng.integers(256)
        path.write_bytes(data[: rng.integers(1, len(data))])
        try:
            samples = read(path, 22_050)
        except AudioError:
            continue
        assert torch.isfinite(samples).all()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(write):
    path = write(sine(440, 1, 44_100))
    path.chmod(0)
    assert refused(path) is RejectReason.NO_PERMISSION


def test_a_refusal_by_the_system(write, monkeypatch):
    def deny(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    path = write(sine(440, 1, 44_100))
    monkeypatch.setattr("pathlib.Path.open", deny)
    assert refused(path) is RejectReason.NO_PERMISSION


def test_a_file_that_is_gone(tmp_path):
    assert refused(tmp_path / "gone.wav") is RejectReason.MISSING


def test_a_folder_is_not_read(tmp_path):
    assert refused(tmp_path) is RejectReason.UNREADABLE


def test_a_very_long_track_is_read_only_so_far(tmp_path):
    path = tmp_path / "long.wav"
    rate, block = 8000, 0.1 * np.random.default_rng(0).standard_normal(8000 * 60)
    with soundfile.SoundFile(path, "w", rate, 1, subtype="PCM_U8") as file:
        for _ in range(round(MAX_SECONDS / 60) + 2):
            file.write(block)
    assert inspect(path).seconds == MAX_SECONDS + 120
    assert len(read(path, rate)) / rate == pytest.approx(MAX_SECONDS, abs=10)
