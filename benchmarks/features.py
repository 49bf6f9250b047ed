"""Speed of feature extraction on one core and from the cache, compared with librosa on the same view."""

import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import soundfile
import torch

from sottovoce.audio.decoding import read
from sottovoce.features.extract import default_spec, extract_file
from sottovoce.features.segments import cut, level
from sottovoce.features.spec import FeatureSpec
from sottovoce.features.spectra import FLOOR, log_mel
from sottovoce.files import sha256_file
from sottovoce_client.data.feature_cache import FeatureCache

SECONDS = 10.0
RATE = 44_100
FILES = 12
FORMATS = ("wav", "flac", "mp3", "ogg")
REPEATS = 3


@dataclass(frozen=True)
class File:
    """An audio file and the digest of its content."""

    path: Path
    digest: str


def run() -> dict[str, Any]:
    """Real-time factor on one core including decoding, gain from the cache, and librosa's speed on the log-mel view."""
    with tempfile.TemporaryDirectory() as folder, _one_thread():
        place = Path(folder)
        spec = default_spec()
        files = {name: _files(place, name) for name in FORMATS}
        both = {name: _real_time(lambda path: extract_file(path, spec), some) for name, some in files.items()}
        mel = {name: _real_time(lambda path: _log_mel(path, spec), some) for name, some in files.items()}
        theirs = {name: _real_time(lambda path: _librosa_log_mel(path, spec), some) for name, some in files.items()}
        first, again = _cached(place, [file for some in files.values() for file in some], spec)
        return {
            "seconds_of_each_file": SECONDS,
            "both_views_times_real_time_per_core": both,
            "log_mel_only_times_real_time_per_core": mel,
            "librosa_log_mel_only_times_real_time_per_core": theirs,
            "largest_difference_from_librosa_db": _difference(files["wav"][0].path, spec),
            "cache_first_run_seconds": first,
            "cache_second_run_seconds": again,
            "cache_speed_up": first / again,
        }


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _files(place: Path, name: str) -> list[File]:
    """Stereo, music-like noise, which takes as long to decode as a dense mix."""
    rng = np.random.default_rng(1)
    times = np.arange(round(SECONDS * RATE)) / RATE
    files = []
    for number in range(FILES):
        wave = sum(np.sin(2 * np.pi * 110 * 2 ** (step / 12) * times) for step in rng.integers(0, 36, 5)) / 10
        stereo = wave[:, None] + 0.05 * rng.standard_normal((len(times), 2))
        path = place / f"{number}.{name}"
        soundfile.write(path, stereo, RATE)
        files.append(File(path, sha256_file(path)))
    return files


def _real_time(function: Callable[[Path], object], files: list[File]) -> float:
    """Seconds of audio processed per second on one core, best of several runs after a warm-up."""
    function(files[0].path)
    best = min(_processor(lambda: [function(file.path) for file in files]) for _ in range(REPEATS))
    return len(files) * SECONDS / best


def _processor(function: Callable[[], object]) -> float:
    """Seconds of CPU time, which, unlike wall-clock time, do not depend on the machine's load."""
    started = time.process_time()
    function()
    return time.process_time() - started


def _timed(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def _cached(place: Path, files: list[File], spec: FeatureSpec) -> tuple[float, float]:
    """Seconds to load both views of all files: computed, and from the cache."""
    cache = FeatureCache(place / "cache")

    def everything() -> None:
        cache.fill(files, spec, workers=1)
        for view in spec.views:
            for _ in cache.load_view(files, spec, view):
                pass

    first = _timed(everything)
    return first, min(_timed(everything) for _ in range(REPEATS))


def _log_mel(path: Path, spec: FeatureSpec) -> torch.Tensor:
    """Our log-mel view alone, unnormalised."""
    with torch.inference_mode():
        return log_mel(cut(level(read(path, spec.sample_rate), spec), spec), spec)


def _librosa_log_mel(path: Path, spec: FeatureSpec) -> "np.ndarray[Any, Any]":
    """librosa's log-mel view of the segments in dB, on loudness-normalised audio."""
    audio, _ = librosa.load(path, sr=spec.sample_rate, res_type="soxr_hq")
    audio = audio * (10 ** (spec.loudness / 20) / np.sqrt(np.mean(audio.astype(np.float64) ** 2)))
    count = len(audio) // spec.segment_samples
    segments = audio[: count * spec.segment_samples].reshape(count, -1).astype(np.float32)
    power = librosa.feature.melspectrogram(
        y=segments,
        sr=spec.sample_rate,
        n_fft=spec.n_fft,
        hop_length=spec.hop_length,
        n_mels=spec.n_mels,
        fmin=spec.f_min,
        fmax=spec.f_max,
        htk=True,
        norm=None,
        pad_mode="reflect",
    )
    return 10 * np.log10(power * (4 / spec.n_fft) ** 2 + FLOOR)


def _difference(path: Path, spec: FeatureSpec) -> float:
    """Largest difference in dB between the two, below the band affected by resampling filters."""
    raw = replace(spec, normalisation="")
    ours, theirs = extract_file(path, raw).log_mel.astype(np.float32), _librosa_log_mel(path, spec)
    bands = slice(0, spec.n_mels * 9 // 10)
    return float(np.abs(ours - theirs)[:, bands].max())


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
