"""Effects: one interface for all that changes a whole file, and the loop that streams a file through some of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from sottovoce.audio import Unusable
from sottovoce.editing import formats
from sottovoce.errors import AudioError, ConfigurationError

Blocks = Iterator[NDArray[np.float64]]

BLOCK = 1 << 16


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


def apply(source: Path, unfinished: Path, effects: Sequence[Effect], subtype: str | None = None) -> Applied:
    """Stream a file through effects, in this order, into another file at its own rate and channel count.

    Args:
        source: the file; it is only read.
        unfinished: where the result goes: a file aside, which the caller renames when it is finished.
        effects: the first one first.
        subtype: of the output; None for the source's, where the container has it.

    Raises:
        AudioError: the source cannot be used.
        ConfigurationError: an effect cannot be had, or the container cannot hold the result.
    """
    try:
        with soundfile.SoundFile(source) as file:
            container, chosen = formats.output_format(unfinished, file)
            subtype = subtype or chosen
            kind = formats.travels_as(file.subtype, subtype)
            blocks = read(file, kind)
            for effect in effects:
                blocks = effect.process(blocks, file.samplerate)
            with soundfile.SoundFile(
                unfinished, "w", file.samplerate, file.channels, subtype, format=container
            ) as written:
                frames, limited = _written(blocks, written, kind)
            return Applied(frames, file.samplerate, limited, subtype)
    except soundfile.SoundFileError:
        raise AudioError("The file cannot be decoded or written as audio.", reason=Unusable.CORRUPT) from None


def read(file: soundfile.SoundFile, kind: str) -> Blocks:
    """The samples of an open file from where it stands, block by block.

    Raises:
        AudioError: it ends early, or holds numbers that are no samples.
    """
    left = file.frames - file.tell()
    while left > 0:
        block = formats.to_float(file.read(min(BLOCK, left), dtype=kind, always_2d=True))
        if not len(block):
            raise AudioError("The audio ends before its end.", reason=Unusable.TRUNCATED)
        if not np.isfinite(block).all():
            raise AudioError(
                "The audio holds numbers that are no samples.",
                reason=Unusable.NOT_FINITE,
                hint="--find-gaps finds them, and --repair fills them.",
            )
        left -= len(block)
        yield block


def _written(blocks: Blocks, file: soundfile.SoundFile, kind: str) -> tuple[int, int]:
    """Frames written, and samples cut to full scale; formats of floating point keep what is beyond it."""
    frames = limited = 0
    largest = formats.largest(file.format, file.subtype, file.channels)
    for block in blocks:
        frames += len(block)
        if frames > largest:
            raise ConfigurationError(
                f"A {file.format} file cannot hold as much as this.", hint="Write a .flac or a .w64 file."
            )
        if file.subtype not in formats.FLOATING:
            limited += int(np.count_nonzero(np.abs(block) > 1.0))
        for start in range(0, len(block), BLOCK):  # libsndfile's Vorbis encoder fails on long blocks
            piece: NDArray[Any] = formats.from_float(block[start : start + BLOCK], kind, file.subtype)
            file.write(piece)
    if not frames:
        raise ConfigurationError("Nothing would be left of the audio.")
    return frames, limited
