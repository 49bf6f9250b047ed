"""Robustness and audibility of the watermark on synthetic tracks, for each attack separately."""

import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from sottovoce.audio.decoding import AUDIO
from sottovoce.studio.provenance.watermark.detect import find
from sottovoce.studio.provenance.watermark.embed import embed_clearly
from sottovoce.studio.provenance.watermark.frames import resampled, spectra
from sottovoce.studio.provenance.watermark.masking import in_bands, thresholds
from sottovoce.studio.provenance.watermark.pattern import RATE as MARK_RATE
from sottovoce_simulations.synthesis.catalogues import synthesise

PAYLOAD = bytes.fromhex("0123456789ab")
TRACKS = 27
SEED = 2027
SECONDS = 20.0
RATE = 44_100
Audio = NDArray[np.floating]


def recoded(samples: Audio, kind: str, subtype: str, **more: Any) -> Audio:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples.T, RATE, format=kind, subtype=subtype, **more)
    buffer.seek(0)
    return soundfile.read(buffer, always_2d=True)[0].T


def through(samples: Audio, rate: int) -> Audio:
    return resampled(resampled(samples.astype(np.float64), RATE, rate), rate, RATE)


def noisy(samples: Audio, decibels: float) -> Audio:
    noise = np.random.default_rng(1).normal(size=samples.shape)
    return samples + noise * np.sqrt((samples**2).mean()) * 10 ** (-decibels / 20)


ATTACKS: dict[str, Callable[[Audio], Audio]] = {
    "none": lambda x: x,
    "mp3, 128 kbit/s": lambda x: recoded(x, "MP3", "MPEG_LAYER_III", bitrate_mode="CONSTANT", compression_level=2 / 3),
    "ogg vorbis, quality 0.4": lambda x: recoded(x, "OGG", "VORBIS", compression_level=0.6),
    "44.1 → 22.05 → 44.1 kHz": lambda x: through(x, 22_050),
    "44.1 → 8 → 44.1 kHz (low-pass at 4 kHz)": lambda x: through(x, 8_000),
    "noise at 30 dB": lambda x: noisy(x, 30),
    "noise at 20 dB": lambda x: noisy(x, 20),
    "noise at 10 dB": lambda x: noisy(x, 10),
    "gain of -20 dB": lambda x: 0.1 * x,
    "16 bit": lambda x: np.round(x * 32_767) / 32_767,
    "8 bit": lambda x: np.round(x * 127) / 127,
    "cropped to 8 s": lambda x: x[:, 3 * RATE : 11 * RATE],
    "cropped to 5 s": lambda x: x[:, 3 * RATE : 8 * RATE],
    "shifted by 7 ms": lambda x: x[:, round(0.007 * RATE) :],
    "clipped at half of its peak": lambda x: np.clip(x, -0.5 * np.abs(x).max(), 0.5 * np.abs(x).max()),
    "played 0.5 % faster": lambda x: resampled(x.astype(np.float64), 201, 200),
    "played 2 % faster": lambda x: resampled(x.astype(np.float64), 51, 50),
    "played 5 % slower": lambda x: resampled(x.astype(np.float64), 20, 21),
}


def run() -> dict[str, object]:
    """Fraction of tracks whose payload is read after each attack; SNR and noise-to-mask ratio; seconds per minute."""
    tracks = made()
    read = dict.fromkeys(ATTACKS, 0)
    ratios, masks, false, embedding, detecting = [], [], 0, [], []
    for samples in tracks:
        started = time.perf_counter()
        marked, _ = embed_clearly(samples, RATE, PAYLOAD)
        embedding.append(time.perf_counter() - started)
        noise = marked - samples
        ratios.append(float(10 * np.log10((samples**2).sum() / (noise**2).sum())))
        masks.append(noise_to_mask(samples, noise))
        started = time.perf_counter()
        false += len(find([samples], RATE))
        detecting.append(time.perf_counter() - started)
        for name, attack in ATTACKS.items():
            read[name] += [mark.payload for mark in find([attack(marked)], RATE)] == [PAYLOAD]
    minute = SECONDS / 60
    return {
        "tracks": len(tracks),
        "seconds": SECONDS,
        "read": {name: count / len(tracks) for name, count in read.items()},
        "found_where_none_is": false,
        "snr_db": {"median": statistics.median(ratios), "least": min(ratios)},
        "noise_to_mask_db": {"median": statistics.median(masks), "most": max(masks)},
        "seconds_a_minute": {
            "embed": statistics.median(embedding) / minute,
            "find": statistics.median(detecting) / minute,
        },
    }


def noise_to_mask(samples: Audio, noise: Audio) -> float:
    """Mean over frames and critical bands of the noise's energy over the masked threshold, dB (below 8 kHz)."""
    music, added = (np.abs(spectra(through_mark(each))) ** 2 for each in (samples, noise))
    loud = in_bands(music) > 1e-6 * in_bands(music).max()
    ratio = in_bands(added) / (thresholds(music) + 1e-20)
    return float(10 * np.log10(ratio[loud].mean()))


def through_mark(samples: Audio) -> NDArray[np.float64]:
    return resampled(samples.astype(np.float64), RATE, MARK_RATE)


def made() -> list[Audio]:
    """Synthetic tracks of all styles, which the watermark was not tuned on."""
    with tempfile.TemporaryDirectory() as folder:
        synthesise(Path(folder) / "music", labels=1, tracks=TRACKS, seconds=(SECONDS, SECONDS), seed=SEED)
        found = []
        for path in sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in AUDIO):
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
            found.append(resampled(samples.T.astype(np.float64), rate, RATE).astype(np.float32))
    return found


if __name__ == "__main__":
    print(json.dumps(run(), indent=2, ensure_ascii=False))
