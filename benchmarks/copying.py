"""What the copy audit finds: planted copies by kind and length, false alarms on music that is no copy, and seconds.

On synthetic tracks, and on rendered scores where the extra `repertoire` is installed.
"""

import json
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.repertoire import rendered
from sottovoce.audio import read
from sottovoce.features import spectrogram
from sottovoce.features.extract import default_spec
from sottovoce.features.spec import View
from sottovoce.vocoder import GriffinLim
from sottovoce_client.catalogue import Track, holdout, scan
from sottovoce_client.copying.audit import EXCERPTS_A_TRACK, MOST_TRACKS
from sottovoce_client.copying.calibrate import bounds
from sottovoce_client.copying.compare import Closest
from sottovoce_client.copying.excerpt import Excerpt, at, excerpts, longest_start
from sottovoce_client.copying.sketch import Sketch, resampled, sketch, sketch_file
from sottovoce_simulations.synthesis.catalogues import synthesise

RATE = 22_050
TRACKS, COPIES, AUDITS, SAMPLES = 300, 20, 200, 20
LENGTHS = (10.0, 6.0, 4.5)
FALSE_ALARMS = 0.01
SEED = 2028
SPEED_TRACKS, SPEED_SECONDS = 12, 180.0
Audio = NDArray[np.float32]


def noisy(audio: Audio, decibels: float) -> Audio:
    noise = np.random.default_rng(1).standard_normal(len(audio))
    found: Audio = (audio + noise * np.sqrt(np.mean(audio**2)) * 10 ** (-decibels / 20)).astype(np.float32)
    return found


def through(audio: Audio, rate: int) -> Audio:
    found: Audio = librosa.resample(librosa.resample(audio, orig_sr=RATE, target_sr=rate), orig_sr=rate, target_sr=RATE)
    return found


def through_vocoder(audio: Audio, blur: int) -> Audio:
    """As a generator that knows the spectrogram, blurred over so many bands and frames, would play it."""
    spec = default_spec(View.SPECTROGRAM)
    levels = spectrogram.decibels(torch.from_numpy(audio)[None], spec)
    levels = torch.nn.functional.avg_pool2d(levels, blur, 1, blur // 2)[0]
    found: Audio = GriffinLim(spec).audio(levels, torch.Generator().manual_seed(1)).numpy()
    return found


KINDS: dict[str, Callable[[Audio], Audio]] = {
    "exact": lambda x: x,
    "resampled to 16 kHz": lambda x: through(x, 16_000),
    "a semitone higher": lambda x: librosa.effects.pitch_shift(x, sr=RATE, n_steps=1),
    "a semitone lower": lambda x: librosa.effects.pitch_shift(x, sr=RATE, n_steps=-1),
    "5 % slower": lambda x: librosa.effects.time_stretch(x, rate=1 / 1.05),
    "5 % faster": lambda x: librosa.effects.time_stretch(x, rate=1.05),
    "under noise, 10 dB": lambda x: noisy(x, 10),
    "under noise, 5 dB": lambda x: noisy(x, 5),
    "under noise, 0 dB": lambda x: noisy(x, 0),
    "through Griffin-Lim": lambda x: through_vocoder(x, 1),
    "through Griffin-Lim, blurred 5 by 5": lambda x: through_vocoder(x, 5),
}


def run() -> dict[str, object]:
    """Detection by kind and length, false alarms, bytes and seconds."""
    torch.set_num_threads(1)
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        made = synthesise(root / "music", labels=1, tracks=TRACKS + TRACKS // 2, seconds=(11, 13), seed=SEED)
        figures["synthetic"] = measured(root / "music" / made.labels[0], root / "one.sqlite")
        if find_spec("music21") and find_spec("tinysoundfont"):
            figures["rendered scores"] = measured(rendered(600), root / "two.sqlite")
        figures["speed"] = speed(root)
    return figures


def measured(folder: Path, index: Path) -> dict[str, Any]:
    rng = np.random.default_rng(SEED)
    tracks = scan(folder, index=index).tracks
    split = holdout(tracks, 0.3, key=b"benchmark")
    train = [split.train[number] for number in rng.permutation(len(split.train))[:TRACKS]]
    held = [split.held_out[number] for number in rng.permutation(len(split.held_out))[: 2 * MOST_TRACKS]]
    by, others = held[: len(held) // 2], held[len(held) // 2 :]
    sketches = [sketch_file(track.path) for track in train]
    calibrating = [
        at(each, rng.uniform(0, longest_start(each)))
        for each in (sketch_file(track.path) for track in by)
        for _ in range(EXCERPTS_A_TRACK)
    ]
    of = np.arange(len(calibrating)) // EXCERPTS_A_TRACK
    known = closest_of(calibrating, sketches)
    found: dict[str, dict[str, float]] = {}
    tested = len(list(excerpts(sketch_file(train[0].path)))) * SAMPLES
    limits = bounds(known.distances, known.shares, of, excerpts=tested, false_alarms=FALSE_ALARMS)
    for kind, change in KINDS.items():
        found[kind] = {}
        for seconds in LENGTHS:
            planted = [planted_copy(train[number], seconds, change, rng) for number in rng.choice(len(train), COPIES)]
            closest = closest_of([each for some in planted for each in some], sketches)
            exceeded = limits.exceeded(closest.distances, closest.shares)
            owner = np.repeat(np.arange(COPIES), [len(some) for some in planted])
            found[kind][f"{seconds:g} s"] = len(np.unique(owner[exceeded])) / COPIES
    return {
        "tracks": len(train),
        "calibrated_by": limits.tracks,
        "bounds": {"distance": limits.distance, "share": limits.share},
        "found": found,
        "false_alarms": false_alarms(others, sketches, known, of, rng),
    }


def false_alarms(
    others: list[Track], sketches: list[Sketch], known: Closest, of: NDArray[np.int64], rng: np.random.Generator
) -> dict[str, float]:
    """Audits of samples that are other held-out tracks, each with other tracks to calibrate by: how many fail."""
    parts = [list(excerpts(sketch_file(track.path))) for track in others]
    owner = np.repeat(np.arange(len(parts)), [len(some) for some in parts])
    closest = closest_of([each for some in parts for each in some], sketches)
    failed = 0
    for _ in range(AUDITS):
        # Half of the tracks at a time: audits that all used the same would not be many.
        used = np.isin(of, rng.permutation(of.max() + 1)[: (of.max() + 1) // 2])
        samples = np.isin(owner, rng.permutation(len(parts))[:SAMPLES])
        limits = bounds(
            known.distances[used],
            known.shares[used],
            of[used],
            excerpts=int(samples.sum()),
            false_alarms=FALSE_ALARMS,
        )
        failed += bool(limits.exceeded(closest.distances[samples], closest.shares[samples]).any())
    return {"audits": AUDITS, "samples": SAMPLES, "stated": FALSE_ALARMS, "failed": failed / AUDITS}


def planted_copy(
    track: Track, seconds: float, change: Callable[[Audio], Audio], rng: np.random.Generator
) -> list[Excerpt]:
    """The excerpts of ten seconds in which so many of a track are copied, between noise as loud as the copy."""
    audio = read(track.path, RATE).numpy()
    length = min(round(seconds * RATE), len(audio))
    start = int(rng.integers(0, len(audio) - length + 1))
    copy = np.asarray(change(audio[start : start + length]), dtype=np.float32)
    around = max(0, round(LENGTHS[0] * RATE) - len(copy))
    level = float(np.sqrt(np.mean(copy**2)))
    before = int(rng.integers(0, around + 1))
    noise = [level * rng.standard_normal(size).astype(np.float32) for size in (before, around - before)]
    return list(excerpts(sketch(resampled(np.concatenate([noise[0], copy, noise[1]]), RATE))))


def closest_of(some: list[Excerpt], sketches: list[Sketch]) -> Closest:
    closest = Closest(some)
    for number, each in enumerate(sketches):
        closest.look_at(number, each)
    return closest


def speed(root: Path) -> dict[str, object]:
    """Seconds and bytes for tracks of three minutes, on one core; an audit is of 20 samples."""
    made = synthesise(
        root / "long",
        labels=1,
        tracks=SPEED_TRACKS,
        seconds=(SPEED_SECONDS, SPEED_SECONDS),
        seed=SEED,
    )
    tracks = scan(root / "long" / made.labels[0], index=root / "long.sqlite").tracks
    started = time.perf_counter()
    sketches = [sketch_file(track.path) for track in tracks]
    indexing = time.perf_counter() - started
    ten = [at(each, 10.0 * number) for each in sketches for number in range(1, 17)]
    count = 7 * SAMPLES + EXCERPTS_A_TRACK * MOST_TRACKS
    closest = Closest((ten * (count // len(ten) + 1))[:count])
    started = time.perf_counter()
    for number, each in enumerate(sketches):
        closest.look_at(number, each)
    comparing = time.perf_counter() - started
    size = sum(each.times.nbytes + each.bands.nbytes + each.chroma.nbytes for each in sketches)
    return {
        "track_seconds": SPEED_SECONDS,
        "excerpts": count,
        "bytes_a_track": size / len(tracks),
        "seconds_per_1000_tracks": {
            "index": 1_000 * indexing / len(tracks),
            "audit": 1_000 * comparing / len(tracks),
        },
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2, ensure_ascii=False))
