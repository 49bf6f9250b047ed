"""Output formats, and lossless transport of samples: as 64-bit floating point.

float64 represents every sample of every format exactly; libsndfile's own conversion to floating point writes with a
factor 2^15 - 1 but reads with 2^15.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from sottovoce.errors import ConfigurationError
from sottovoce.studio.provenance.containers import RF64, WRITTEN

BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
FLOATING = {"FLOAT": "float32", "DOUBLE": "float64"}
LARGEST_WAV = (1 << 32) - (1 << 16)
"""Largest size of the samples in a WAV or AIFF file, bytes."""


def output_format(path: Path, source: soundfile.SoundFile) -> tuple[str, str]:
    """Container and subtype (libsndfile's names) of an output; the source's, if the container supports them.

    Raises:
        ConfigurationError: the extension is unknown.
    """
    known = WRITTEN.get(path.suffix.lower())
    if known is None:
        raise ConfigurationError(
            f"Files that end in '{path.suffix}' cannot be written." if path.suffix else "The output has no extension.",
            hint=f"Choose one of {', '.join(WRITTEN)}.",
        )
    container = known.name
    if container == "WAV" and source.format in ("WAVEX", RF64.name):
        container = source.format
    if soundfile.check_format(container, source.subtype):
        subtype = source.subtype
    elif soundfile.check_format(container, "PCM_24"):
        subtype = "PCM_24" if source.subtype in ("PCM_32", "FLOAT", "DOUBLE") else "PCM_16"
    else:
        subtype = soundfile.default_subtype(container)
    if container in ("WAV", "WAVEX") and source.frames > largest(container, subtype, source.channels):
        container = RF64.name
    return container, subtype


def largest(container: str, subtype: str, channels: int) -> float:
    """Largest number of frames in a container."""
    width = {**BITS, **dict.fromkeys(FLOATING, 32), "DOUBLE": 64}.get(subtype, 8) // 8
    return LARGEST_WAV // (channels * width) if container in ("WAV", "WAVEX", "AIFF") else math.inf


def between(source: str) -> str:
    """Subtype of an intermediate file that represents all samples of a source exactly."""
    return "DOUBLE" if source in ("PCM_32", "DOUBLE") else "FLOAT"


def exact(source: str, written: str) -> bool:
    """Whether samples of one subtype are represented exactly in another."""
    if source in FLOATING or written in FLOATING:
        return source == written
    return source in BITS and written in BITS and BITS[written] >= BITS[source]


def read_as(subtype: str) -> str:
    """The numpy type in which libsndfile returns a subtype's samples unchanged."""
    return "int32" if subtype in BITS else "float64"


def to_float(block: NDArray[Any]) -> NDArray[np.float64]:
    """Samples scaled to full scale 1."""
    scale = 2.0**31 if block.dtype == np.int32 else 1.0
    return block.astype(np.float64) / scale


def from_float(samples: NDArray[np.float64], subtype: str) -> NDArray[Any]:
    """Samples in the form that libsndfile writes unchanged, rounded to the subtype's steps and clipped to its full
    scale, if it has one."""
    if subtype in FLOATING:
        return samples.astype(FLOATING[subtype])
    samples = np.nan_to_num(samples)
    if subtype not in BITS:
        return np.clip(samples, -1.0, 1.0)
    steps = 2 ** (BITS[subtype] - 1)
    rounded = np.clip(np.rint(samples * steps), -steps, steps - 1).astype(np.int64)
    return np.asarray(rounded << (32 - BITS[subtype]), dtype=np.int32)
