"""The interface of effects, and streaming of a file through several of them."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from sottovoce.audio.reject_reason import RejectReason
from sottovoce.errors import AudioError, ConfigurationError, SottovoceError
from sottovoce.studio.editing import output_formats

Blocks = Iterator[NDArray[np.float64]]

BLOCK = 1 << 16
_NEARLY_FULL = 1 << 20


class Effect(Protocol):
    """An effect on a stream of audio."""

    name: str

    def process(self, blocks: Blocks, sample_rate: int) -> Blocks:
        """Map blocks `[frames, channels]` of any length to blocks; memory does not grow with the audio's length.

        Args:
            blocks: the audio, full scale 1; every block has the same number of channels. Must not be modified in place.
            sample_rate: Hz, in and out.

        Raises:
            ConfigurationError: the effect is not possible at this rate or length.
        """


@dataclass(frozen=True)
class Applied:
    """Result of applying effects to a file.

    Args:
        frames: number of frames written.
        sample_rate: Hz.
        limited: number of samples beyond full scale, which were clipped.
        subtype: subtype of the output, in libsndfile's terms.
    """

    frames: int
    sample_rate: int
    limited: int
    subtype: str


def apply(source: Path, output: Path, effects: Sequence[Effect], form: tuple[str, str] | None = None) -> Applied:
    """Stream a file through effects, in order, into another file with the same sample rate and channels.

    Args:
        source: the file; it is only read.
        output: temporary file for the result; the caller renames it.
        effects: the effects, first one first.
        form: container and subtype of the output (libsndfile's names); None to use `formats.output_format`.

    Raises:
        AudioError: the source cannot be used.
        ConfigurationError: an effect is not possible, or the container cannot hold the result.
    """
    try:
        with soundfile.SoundFile(source) as file:
            container, subtype = form or output_formats.output_format(output, file)
            blocks = read(file)
            for effect in effects:
                blocks = effect.process(blocks, file.samplerate)
            with soundfile.SoundFile(output, "w", file.samplerate, file.channels, subtype, format=container) as written:
                frames, limited = _written(blocks, written)
            return Applied(frames, file.samplerate, limited, subtype)
    except soundfile.SoundFileError:
        raise _explained(output) from None


def _explained(output: Path) -> Exception:
    """Interpret libsndfile's error, which does not distinguish a full disk from a damaged file."""
    if shutil.disk_usage(output.parent).free < _NEARLY_FULL:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return AudioError("The file cannot be decoded or written as audio.", reason=RejectReason.CORRUPT)


def read(file: soundfile.SoundFile, end: int | None = None) -> Blocks:
    """The samples of an open file from its position to frame `end`, or to its end, block by block.

    Raises:
        AudioError: the file is truncated.
    """
    left = (file.frames if end is None else end) - file.tell()
    while left > 0:
        block = output_formats.to_float(
            file.read(min(BLOCK, left), dtype=output_formats.read_as(file.subtype), always_2d=True)
        )
        if not len(block):
            raise AudioError("The audio is truncated.", reason=RejectReason.TRUNCATED)
        left -= len(block)
        yield block


def no_samples() -> AudioError:
    """The error for audio that contains NaN or infinities."""
    return AudioError(
        "The audio contains samples that are not finite.",
        reason=RejectReason.NOT_FINITE,
        hint="--find-gaps finds them, and --repair fills them.",
    )


class Finite:
    """Passes only finite samples.

    Args:
        wrong: makes the exception for other samples.
    """

    name = "finite"

    def __init__(self, wrong: Callable[[], SottovoceError] = no_samples) -> None:
        self._wrong = wrong

    def process(self, blocks: Blocks, sample_rate: int) -> Blocks:  # noqa: ARG002
        """See `Effect.process`.

        Raises:
            AudioError: a sample is not finite (or the exception from `wrong`).
        """
        for block in blocks:
            if not np.isfinite(block).all():
                raise self._wrong()
            yield block


def _written(blocks: Blocks, file: soundfile.SoundFile) -> tuple[int, int]:
    """Frames written, and samples clipped to full scale; floating-point formats keep values beyond it."""
    frames = limited = 0
    largest = output_formats.largest(file.format, file.subtype, file.channels)
    for block in blocks:
        frames += len(block)
        if frames > largest:
            raise ConfigurationError(f"The audio is too long for a {file.format} file.", hint="Write a .flac file.")
        if file.subtype not in output_formats.FLOATING:
            limited += int(np.count_nonzero(np.abs(block) > 1.0))
        for start in range(0, len(block), BLOCK):  # libsndfile's Vorbis encoder fails on long blocks
            file.write(output_formats.from_float(block[start : start + BLOCK], file.subtype))
    if not frames:
        raise ConfigurationError("No audio would be left.")
    return frames, limited
