"""Long audio is read in bounded memory, and gives the numbers that reading it at once gives."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torchaudio.transforms import Resample

from sottovoce.audio import decoding, resampling
from sottovoce.errors import AudioError
from sottovoce.features import extract
from sottovoce.features import segments as segments_module
from sottovoce.features.extract import default_spec, extract_file
from sottovoce.features.segments import cut, level, read_segments, segments
from sottovoce.features.spec import FeatureSpec, View

RATE = 8_000
SPEC = FeatureSpec(sample_rate=RATE, segment_seconds=0.5, hop_seconds=0.25, max_segments=7, f_max=4_000.0)


@pytest.fixture
def track(tmp_path: Path) -> Callable[[float], Path]:
    """Writes noise of a given length in seconds whose level changes."""

    def write(seconds: float) -> Path:
        rng = np.random.default_rng(3)
        count = round(seconds * RATE)
        samples = rng.normal(0, 0.1, count) * np.linspace(0.1, 1, count)
        soundfile.write(tmp_path / "track.flac", samples, RATE)
        return tmp_path / "track.flac"

    return write


@pytest.mark.parametrize(("rate", "wanted"), [(44_100, 22_050), (48_000, 22_050), (44_101, 11_025), (8_000, 22_050)])
@pytest.mark.parametrize("block", [1, 700, 40_000])
def test_blocks_are_resampled_as_the_whole(monkeypatch: pytest.MonkeyPatch, rate: int, wanted: int, block: int) -> None:
    monkeypatch.setattr(resampling, "BLOCK", 1_000)
    audio = torch.randn(5 * 9_001, generator=torch.Generator().manual_seed(1))[: 3_000 if block == 1 else None]
    parts = list(resampling.resampled_blocks([part.numpy() for part in audio.split(block)], rate, wanted))
    whole = Resample(*resampling._ratio(rate, wanted))(audio)
    assert len(torch.cat(parts)) == len(whole) == resampling.resampled_length(len(audio), rate, wanted)
    assert torch.allclose(torch.cat(parts), whole, atol=1e-6)
    assert torch.allclose(resampling.resampled(audio, rate, wanted), whole, atol=1e-6)


def test_audio_at_the_wanted_rate_and_no_audio_stay_as_they_are() -> None:
    audio = torch.randn(10)
    assert resampling.resampled(audio, RATE, RATE) is audio
    assert len(resampling.resampled(audio[:0], RATE, 11_025)) == 0
    assert len(list(resampling.resampled_blocks([], RATE, 11_025))) == 0


@pytest.mark.parametrize("samples", [64, 65, 999, 1_000, 1_024])
def test_frames_in_parts_are_those_of_the_whole(samples: int) -> None:
    audio = torch.randn(samples, generator=torch.Generator().manual_seed(2))
    whole = torch.stft(
        audio, 64, 16, window=torch.hann_window(64), center=True, pad_mode="constant", return_complex=True
    )
    for part in (1, 37, samples):
        framed = list(resampling.framed(audio.split(part), 64, 16, 5))
        assert torch.allclose(torch.cat(framed, dim=1), whole, atol=1e-5)
        assert {each.shape[1] for each in framed[:-1]} <= {5}
        assert framed[-1].shape[1] < 10


def test_segments_are_described_a_few_at_a_time_as_all_at_once(track, monkeypatch: pytest.MonkeyPatch) -> None:
    path = track(30.0)
    for spec in (SPEC, replace(default_spec(View.SPECTROGRAM), segment_seconds=1.0, hop_seconds=3.0)):
        found = extract_file(path, spec)
        with monkeypatch.context() as patched:
            patched.setattr(extract, "_FEW", 1000)
            whole = extract_file(path, spec)
        monkeypatch.setattr(extract, "_FEW", 4)
        for few in (found, extract_file(path, spec)):
            for view in spec.views:
                assert few.view(view).dtype == whole.view(view).dtype
                assert np.allclose(few.view(view), whole.view(view), atol=1e-4)


@pytest.mark.parametrize("seconds", [0.5, 0.74, 2.0, 30.0])
@pytest.mark.parametrize("compress", [False, True])
def test_segments_of_a_file_are_those_of_the_audio(track, seconds: float, compress: bool) -> None:
    path, spec = track(seconds), replace(SPEC, compress=compress)
    expected = segments(decoding.read(path, RATE), spec)
    assert torch.allclose(read_segments(path, spec), expected, rtol=1e-6, atol=0)
    assert len(expected) == min(1 + int((seconds - 0.5) / 0.25), 7)


@pytest.mark.parametrize("claimed", [0, 100, 7 * RATE, 3 * 3600 * RATE])
def test_a_header_that_states_another_length_changes_nothing(
    track, monkeypatch: pytest.MonkeyPatch, claimed: int
) -> None:
    path = track(9.0)
    expected = read_segments(path, SPEC)
    monkeypatch.setattr(segments_module, "expected_samples", lambda facts, rate: claimed)
    assert torch.equal(read_segments(path, SPEC), expected)


def test_a_file_that_grows_while_it_is_read_is_refused(track, monkeypatch: pytest.MonkeyPatch) -> None:
    path, parts = track(2.0), list(decoding.read_parts(track(2.0), RATE))
    monkeypatch.setattr(segments_module, "read_parts", lambda path, rate: parts.append(parts[0]) or parts)
    with pytest.raises(AudioError, match="changed while it was read"):
        read_segments(path, SPEC)


@pytest.mark.parametrize("part", [1, 300, 10_000])
def test_a_track_is_levelled_alike_in_parts(monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    audio = torch.randn(4_000, generator=torch.Generator().manual_seed(4)) * torch.linspace(0.01, 0.4, 4_000)
    spec = replace(SPEC, compress=True)
    expected = level(audio, spec)
    monkeypatch.setattr(segments_module, "_PART", part)
    assert torch.allclose(level(audio, spec), expected, rtol=1e-4)
    assert expected.std() < audio.std() or not torch.allclose(expected / expected.std(), audio / audio.std(), rtol=0.1)


def test_only_the_segments_of_a_file_are_kept(track, monkeypatch: pytest.MonkeyPatch) -> None:
    path = track(30.0)
    monkeypatch.setattr(segments_module, "read", None)
    assert read_segments(path, SPEC).shape == cut(torch.zeros(30 * RATE), SPEC).shape
    assert read_segments(path, SPEC).untyped_storage().nbytes() == 4 * 7 * SPEC.segment_samples


def test_a_track_is_read_up_to_the_longest_length_and_not_beyond(track, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_SECONDS", 10.0)
    monkeypatch.setattr(decoding, "_BLOCK", RATE)
    assert len(decoding.read(track(30.0), RATE)) == 10 * RATE
    assert len(decoding.read(track(30.0), RATE // 2)) == 5 * RATE
