"""How often a copy of a track without tags is on its original's side: by kind of copy, over many keys.

On synthetic tracks, and on rendered scores where the extra `repertoire` is installed. On sides of their own, as by a
digest of the file, 68 % of copies would be on the original's side by chance.
"""

import io
import json
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import librosa
import numpy as np
import soundfile
from numpy.typing import NDArray

from benchmarks.repertoire import rendered
from sottovoce_client.catalogue.holdout import HELD_OUT_SHARE
from sottovoce_client.copy_audit.sketch import as_mono
from sottovoce_client.data.spectral_split import held_out_by_spectrum, spectrum
from sottovoce_simulations.scores.repertoire import audio_below
from sottovoce_simulations.synthesis.catalogues import synthesise

TRACKS, LONG_TRACKS, LONG_SECONDS = 60, 10, (85.0, 95.0)
KEYS = [number.to_bytes(8) for number in range(500)]
SEED = 2028
BLOCK = 1 << 16
"""Frames that are encoded at once."""
Audio = NDArray[np.float32]
Kind = Callable[[Audio, int], tuple[Audio, int]]


def coded(container: str, subtype: str, compression: float) -> Kind:
    def kind(audio: Audio, rate: int) -> tuple[Audio, int]:
        if subtype == "OPUS":
            audio, rate = librosa.resample(audio, orig_sr=rate, target_sr=48_000, axis=0), 48_000
        file = io.BytesIO()
        options = {"format": container, "subtype": subtype, "compression_level": compression}
        with soundfile.SoundFile(file, "w", rate, audio.shape[1], **options) as encoder:
            for start in range(0, len(audio), BLOCK):  # a whole minute at once overflows the Vorbis encoder's stack
                encoder.write(audio[start : start + BLOCK])
        file.seek(0)
        decoded, rate = soundfile.read(file, dtype="float32", always_2d=True)
        return decoded, rate

    return kind


def resampled(wanted: int) -> Kind:
    return lambda audio, rate: (librosa.resample(audio, orig_sr=rate, target_sr=wanted, axis=0), wanted)


KINDS: dict[str, Kind] = {
    "MP3, high quality": coded("MP3", "MPEG_LAYER_III", 0.0),
    "MP3, medium": coded("MP3", "MPEG_LAYER_III", 0.5),
    "MP3, low": coded("MP3", "MPEG_LAYER_III", 0.9),
    "Vorbis, medium": coded("OGG", "VORBIS", 0.5),
    "Vorbis, low": coded("OGG", "VORBIS", 0.9),
    "Opus, low": coded("OGG", "OPUS", 0.8),
    "3 dB louder, clipped": lambda audio, rate: (np.clip(audio * np.float32(10**0.15), -1, 1), rate),
    "resampled to 24 kHz": resampled(24_000),
    "first 0.5 s cut off": lambda audio, rate: (audio[rate // 2 :], rate),
    "last 0.5 s cut off": lambda audio, rate: (audio[: -(rate // 2)], rate),
    "0.5 s of silence before": lambda audio, rate: (np.pad(audio, ((rate // 2, 0), (0, 0))), rate),
    "0.25 s cut off, MP3": lambda audio, rate: coded("MP3", "MPEG_LAYER_III", 0.5)(audio[rate // 4 :], rate),
}


def run() -> dict[str, object]:
    """Share of copies on their original's side, by kind, and how much of the tracks is held out."""
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        short, long = Path(folder) / "short", Path(folder) / "long"
        synthesise(short, labels=1, tracks=TRACKS, seed=SEED)
        synthesise(long, labels=1, tracks=LONG_TRACKS, seconds=LONG_SECONDS, seed=SEED)
        figures["synthetic, 8 to 12 s"] = measured(audio_below(short))
        figures["synthetic, 90 s"] = measured(audio_below(long))
    if find_spec("music21") and find_spec("tinysoundfont"):
        files = audio_below(rendered(60))
        figures["rendered scores, 12 s"] = measured(np.random.default_rng(SEED).permutation(files)[:TRACKS])
    return figures


def measured(files: Sequence[Path]) -> dict[str, object]:
    originals = [soundfile.read(file, dtype="float32", always_2d=True) for file in files]
    sides = sides_of(originals)
    same = {
        name: float((sides_of([kind(audio, rate) for audio, rate in originals]) == sides).mean())
        for name, kind in KINDS.items()
    }
    share = sides.mean(axis=1)
    held_out = {"mean": float(share.mean()), "deviation": float(share.std()), "largest": float(share.max())}
    return {"tracks": len(files), "on the same side": same, "held out, over keys": held_out}


def sides_of(tracks: Sequence[tuple[Audio, int]]) -> NDArray[np.bool_]:
    """Whether each track is held out, by each key, `[keys, tracks]`."""
    spectra = [spectrum(as_mono(audio.mean(axis=1), rate)) for audio, rate in tracks]
    return np.array([[held_out_by_spectrum(each, HELD_OUT_SHARE, key=key) for each in spectra] for key in KEYS])


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
