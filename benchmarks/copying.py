"""Detection rate of the copy audit: planted copies by kind and length, false alarms on uncopied music, and speed.

On synthetic tracks, and on rendered scores if the extra `repertoire` is installed.
"""

import json
import random
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
from sottovoce.audio.decoding import read
from sottovoce.features import spectrogram
from sottovoce.features.extract import default_spec
from sottovoce.features.spec import View
from sottovoce.studio.vocoder import GriffinLim
from sottovoce_client.catalogue import Track, holdout, scan
from sottovoce_client.copy_audit.comparison import Closest, closest
from sottovoce_client.copy_audit.excerpt import Excerpt, excerpts
from sottovoce_client.copy_audit.release_audit import MOST_TRACKS, as_sample
from sottovoce_client.copy_audit.sketch import as_mono, sketch, sketch_file
from sottovoce_client.copy_audit.thresholds import bounds
from sottovoce_simulations.synthesis.catalogues import synthesise

RATE = 22_050
TRACKS, HELD_OUT, COPIES, AUDITS, SAMPLES = 300, 400, 20, 2_000, 20
SAME_PIECE = ("patcarneysreel-", "bwv158-4-")
"""Held-out scores that the catalogue contains note for note under another name: Paddy Murphy's Wife, and BWV 279."""
LENGTHS = (10.0, 6.0, 4.5)
FALSE_ALARMS = 0.01
SEED = 2028
SPEED_TRACKS, SPEED_SECONDS = 12, 180.0
Audio = NDArray[np.float32]


def noisy(audio: Audio, decibels: float) -> Audio:
    noise = np.random.default_rng(1).standard_normal(len(audio))
    return (audio + noise * np.sqrt(np.mean(audio**2)) * 10 ** (-decibels / 20)).astype(np.float32)


def through(audio: Audio, rate: int) -> Audio:
    return librosa.resample(librosa.resample(audio, orig_sr=RATE, target_sr=rate), orig_sr=rate, target_sr=RATE)


def through_vocoder(audio: Audio, blur: int) -> Audio:
    """Simulate a generator that knows the spectrogram, blurred over `blur` bands and frames, and vocode it."""
    spec = default_spec(View.SPECTROGRAM)
    levels = spectrogram.decibels(torch.from_numpy(audio)[None], spec)
    levels = torch.nn.functional.avg_pool2d(levels, blur, 1, blur // 2)[0]
    return GriffinLim(spec).audio(levels, torch.Generator().manual_seed(1)).numpy()


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
    held = [split.held_out[number] for number in rng.permutation(len(split.held_out))[:HELD_OUT]]
    sketches = [sketch_file(track.path) for track in train]
    parts = [as_sample(sketch_file(track.path), random.Random(number)) for number, track in enumerate(held)]
    of = np.repeat(np.arange(len(parts)), [len(some) for some in parts])
    scores = closest([each for some in parts for each in some], sketches).scores
    most = min(MOST_TRACKS, len(parts) - SAMPLES)
    calibrating, samples = of < most, of >= len(parts) - SAMPLES
    limits = bounds(scores[:, calibrating], of[calibrating], tested=scores[:, samples], false_alarms=FALSE_ALARMS)
    found: dict[str, dict[str, float]] = {}
    for kind, change in KINDS.items():
        found[kind] = {}
        for seconds in LENGTHS:
            planted = [planted_copy(train[number], seconds, change, rng) for number in rng.choice(len(train), COPIES)]
            exceeded = limits.exceeded(closest([each for some in planted for each in some], sketches).scores)
            owner = np.repeat(np.arange(COPIES), [len(some) for some in planted])
            found[kind][f"{seconds:g} s"] = len(np.unique(owner[exceeded])) / COPIES
    return {
        "tracks": len(train),
        "held_out": len(held),
        "calibrated_by": limits.tracks,
        "bounds": limits.scores,
        "found": found,
        "false_alarms": {
            "all tracks": false_alarms(scores, of, most, rng),
            "but those in the catalogue under another name": false_alarms(*without(scores, of, held), most, rng),
        },
    }


def without(
    scores: NDArray[np.float64], of: NDArray[np.int64], held: list[Track]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The held-out tracks without `SAME_PIECE`, renumbered."""
    kept = ~np.isin(of, [number for number, track in enumerate(held) if track.path.name.startswith(SAME_PIECE)])
    return scores[:, kept], np.unique(of[kept], return_inverse=True)[1]


def false_alarms(
    scores: NDArray[np.float64], of: NDArray[np.int64], most: int, rng: np.random.Generator
) -> dict[str, float]:
    """Fraction of audits that fail when held-out tracks are the samples, calibrated on others of them."""
    failed = 0
    for _ in range(AUDITS):
        order = rng.permutation(of.max() + 1)
        used, samples = np.isin(of, order[:most]), np.isin(of, order[-SAMPLES:])
        limits = bounds(scores[:, used], of[used], tested=scores[:, samples], false_alarms=FALSE_ALARMS)
        failed += bool(limits.exceeded(scores[:, samples]).any())
    return {"audits": AUDITS, "samples": SAMPLES, "stated": FALSE_ALARMS, "failed": failed / AUDITS}


def planted_copy(
    track: Track, seconds: float, change: Callable[[Audio], Audio], rng: np.random.Generator
) -> list[Excerpt]:
    """The excerpts of ten seconds that contain a copied passage of this length, surrounded by equally loud noise."""
    audio = read(track.path, RATE).numpy()
    length = min(round(seconds * RATE), len(audio))
    start = int(rng.integers(0, len(audio) - length + 1))
    copy = np.asarray(change(audio[start : start + length]), dtype=np.float32)
    around = max(0, round(LENGTHS[0] * RATE) - len(copy))
    level = float(np.sqrt(np.mean(copy**2)))
    before = int(rng.integers(0, around + 1))
    noise = [level * rng.standard_normal(size).astype(np.float32) for size in (before, around - before)]
    return list(excerpts(sketch(as_mono(np.concatenate([noise[0], copy, noise[1]]), RATE))))


def speed(root: Path) -> dict[str, object]:
    """Seconds and bytes for three-minute tracks, on one core; an audit has 20 samples."""
    made = synthesise(
        root / "long",
        labels=1,
        tracks=SPEED_TRACKS,
        seconds=(SPEED_SECONDS, SPEED_SECONDS),
        seed=SEED,
    )
    tracks = scan(root / "long" / made.labels[0], index=root / "long.sqlite").tracks
    started = time.process_time()
    sketches = [sketch_file(track.path) for track in tracks]
    indexing = time.process_time() - started
    one = [as_sample(each, random.Random(0)) for each in sketches]
    some = [one[number % len(one)] for number in range(SAMPLES + MOST_TRACKS)]
    compared = Closest([each for part in some for each in part])
    started = time.process_time()
    for number, each in enumerate(sketches):
        compared.look_at(number, each)
    comparing = time.process_time() - started
    size = sum(each.times.nbytes + each.bands.nbytes + each.chroma.nbytes for each in sketches)
    return {
        "track_seconds": SPEED_SECONDS,
        "excerpts": sum(len(part) for part in some),
        "bytes_a_track": size / len(tracks),
        "seconds_per_1000_tracks": {
            "index": 1_000 * indexing / len(tracks),
            "audit": 1_000 * comparing / len(tracks),
        },
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2, ensure_ascii=False))
