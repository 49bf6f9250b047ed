"""Which files are written, and how samples travel through one without changing."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from sottovoce.errors import ConfigurationError

EXTENSIONS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".aiff": "AIFF", ".aif": "AIFF", ".w64": "W64"}
BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
FLOATING = {"FLOAT": "float32", "DOUBLE": "float64"}
LARGEST_WAV = (1 << 32) - (1 << 16)


def output_format(path: Path, source: soundfile.SoundFile) -> tuple[str, str]:
    """Container and subtype (libsndfile's names) of an output: those of the source where the container has them.

    Raises:
        ConfigurationError: the extension is unknown.
    """
    container = EXTENSIONS.get(path.suffix.lower())
    if container is None:
        raise ConfigurationError(
            f"Files that end in '{path.suffix}' cannot be written.",
            hint=f"Choose one of {', '.join(EXTENSIONS)}.",
        )
    if container == "WAV" and source.format in ("WAVEX", "RF64"):
        container = source.format
    if soundfile.check_format(container, source.subtype):
        subtype = source.subtype
    elif soundfile.check_format(container, "PCM_24"):
        subtype = "PCM_24" if source.subtype in ("PCM_32", "FLOAT", "DOUBLE") else "PCM_16"
    else:
        subtype = soundfile.default_subtype(container)
    if source.frames > largest(container, subtype, source.channels):
        container = "RF64"
    return container, subtype


def largest(container: str, subtype: str, channels: int) -> float:
    """Frames that a container can hold."""
    width = {**BITS, "FLOAT": 32, "DOUBLE": 64}.get(subtype, 0) // 8
    return LARGEST_WAV // (channels * width) if container in ("WAV", "WAVEX") and width else math.inf


def exact(source: str, written: str) -> bool:
    """Whether samples of one subtype are the same numbers in another."""
    if source in FLOATING or written in FLOATING:
        return source == written
    return source in BITS and written in BITS and BITS[written] >= BITS[source]


def travels_as(source: str, written: str) -> str:
    """The numpy type that blocks are read and written in."""
    if source == written and source in FLOATING:
        return FLOATING[source]
    return "int32" if source in BITS and written in BITS else "float64"


def to_float(block: NDArray[Any]) -> NDArray[np.float64]:
    """Samples with full scale 1."""
    scale = 2.0**31 if block.dtype == np.int32 else 1.0
    return block.astype(np.float64) / scale


def from_float(samples: NDArray[np.float64], like: str, subtype: str) -> NDArray[Any]:
    """Samples as blocks travel, rounded to the subtype's steps; clipped to full scale where it has one."""
    if like != "int32":
        kept: NDArray[Any] = (samples if subtype in FLOATING else np.clip(samples, -1.0, 1.0)).astype(like)
        return kept
    steps = 2 ** (BITS[subtype] - 1)
    rounded = np.clip(np.rint(samples * steps), -steps, steps - 1).astype(np.int64)
    frames: NDArray[np.int32] = np.asarray(rounded << (32 - BITS[subtype]), dtype=np.int32)
    return frames
