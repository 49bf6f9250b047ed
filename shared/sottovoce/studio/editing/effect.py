"""Effects: one interface for all that changes audio, and what streams a file through some of them."""

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
    """Changes a stream of audio."""

    name: str

    def process(self, blocks: Blocks, sample_rate: int) -> Blocks:
        """Blocks `[frames, channels]` of any length in, blocks out; memory does not grow with the length.

        Args:
            blocks: the audio, full scale 1; every block has the same number of channels. None may be changed in place.
            sample_rate: Hz, in and out.

        Raises:
            ConfigurationError: the effect cannot be had at this rate or length.
        """


@dataclass(frozen=True)
class Applied:
    """What became of a file.

    Args:
        frames: written.
        sample_rate: Hz.
        limited: how many samples lay beyond full scale, and were cut to it.
        subtype: of the output, libsndfile's name.
    """

    frames: int
    sample_rate: int
    limited: int
    subtype: str


def apply(source: Path, output: Path, effects: Sequence[Effect], form: tuple[str, str] | None = None) -> Applied:
    """Stream a file through effects, in this order, into another file at its own rate and channel count.

    Args:
        source: the file; it is only read.
        output: where the result goes: a file aside, which the caller renames when it is finished.
        effects: the first one first.
        form: container and subtype of the output (libsndfile's names); None for what `formats.output_format` chooses.

    Raises:
        AudioError: the source cannot be used.
        ConfigurationError: an effect cannot be had, or the container cannot hold the result.
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
    """What libsndfile means, which does not tell a full disk from a file that is damaged."""
    if shutil.disk_usage(output.parent).free < _NEARLY_FULL:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return AudioError("The file cannot be decoded or written as audio.", reason=RejectReason.CORRUPT)


def read(file: soundfile.SoundFile, end: int | None = None) -> Blocks:
    """The samples of an open file from where it stands to frame `end`, or to its own end, block by block.

    Raises:
        AudioError: it ends early.
    """
    left = (file.frames if end is None else end) - file.tell()
    while left > 0:
        block = output_formats.to_float(
            file.read(min(BLOCK, left), dtype=output_formats.read_as(file.subtype), always_2d=True)
        )
        if not len(block):
            raise AudioError("The audio ends before its end.", reason=RejectReason.TRUNCATED)
        left -= len(block)
        yield block


def no_samples() -> AudioError:
    """What is wrong with audio that holds NaN or infinities."""
    return AudioError(
        "The audio holds numbers that are no samples.",
        reason=RejectReason.NOT_FINITE,
        hint="--find-gaps finds them, and --repair fills them.",
    )


class Finite:
    """Lets through nothing that is no sample.

    Args:
        wrong: makes what is raised otherwise.
    """

    name = "finite"

    def __init__(self, wrong: Callable[[], SottovoceError] = no_samples) -> None:
        self._wrong = wrong

    def process(self, blocks: Blocks, sample_rate: int) -> Blocks:  # noqa: ARG002
        """See `Effect.process`.

        Raises:
            AudioError: there is a number that is no sample, or what else is `wrong` then.
        """
        for block in blocks:
            if not np.isfinite(block).all():
                raise self._wrong()
            yield block


def _written(blocks: Blocks, file: soundfile.SoundFile) -> tuple[int, int]:
    """Frames written, and samples cut to full scale; formats of floating point keep what is beyond it."""
    frames = limited = 0
    largest = output_formats.largest(file.format, file.subtype, file.channels)
    for block in blocks:
        frames += len(block)
        if frames > largest:
            raise ConfigurationError(f"A {file.format} file cannot hold as much as this.", hint="Write a .flac file.")
        if file.subtype not in output_formats.FLOATING:
            limited += int(np.count_nonzero(np.abs(block) > 1.0))
        for start in range(0, len(block), BLOCK):  # libsndfile's Vorbis encoder fails on long blocks
            file.write(output_formats.from_float(block[start : start + BLOCK], file.subtype))
    if not frames:
        raise ConfigurationError("Nothing would be left of the audio.")
    return frames, limited
