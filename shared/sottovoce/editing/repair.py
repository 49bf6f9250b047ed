"""Repairs a file block by block: what is outside the gaps is copied, sample for sample."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from sottovoce.audio import Unusable
from sottovoce.editing import formats
from sottovoce.editing.gaps import Gap, in_frames
from sottovoce.editing.repairer import Repairer, expect_finite
from sottovoce.errors import AudioError, ConfigurationError
from sottovoce.files import written_aside

LONGEST_SECONDS = 30.0
"""Of one gap: it bounds memory, and nothing that fills more would be a repair."""
BLOCK = 1 << 16
_MODE = 0o644


@dataclass(frozen=True)
class Repaired:
    """What was done.

    Args:
        gaps: that were filled.
        sample_rate: Hz.
        exact: whether every sample outside the gaps is the same number as before; not so after a lossy format, or from
            a finer into a coarser one.
        subtype: of the output, libsndfile's name.
    """

    gaps: tuple[Gap, ...]
    sample_rate: int
    exact: bool
    subtype: str


def repair(source: Path, output: Path, stretches: Sequence[tuple[float, float]], repairer: Repairer) -> Repaired:
    """Fill the gaps of a file, into another file that is whole or absent.

    Args:
        source: the file; it is only read.
        output: the other file; its extension chooses the container.
        stretches: start and end of each gap, seconds.
        repairer: fills them.

    Raises:
        AudioError: the source cannot be used.
        ConfigurationError: a gap, or the output, cannot be used.
    """
    expect_apart(source, output)
    try:
        with soundfile.SoundFile(source) as file:
            gaps = in_frames(stretches, file.samplerate, file.frames)
            _expect_short(gaps, file.samplerate)
            container, subtype = formats.output_format(output, file)
            kind = formats.travels_as(file.subtype, subtype)
            with (
                written_aside(output) as aside,
                soundfile.SoundFile(aside, "w", file.samplerate, file.channels, subtype, format=container) as written,
            ):
                _copy(file, written, gaps, repairer, kind)
                _copy_tags(source, written, aside)
            output.chmod(_MODE)
            return Repaired(gaps, file.samplerate, formats.exact(file.subtype, subtype), subtype)
    except soundfile.SoundFileError:
        raise AudioError("The file cannot be decoded or written as audio.", reason=Unusable.CORRUPT) from None


def expect_apart(source: Path, output: Path) -> None:
    """Refuse to write over the source: it may be the only recording there is.

    Raises:
        ConfigurationError: both are one file.
        AudioError: the source is no file.
    """
    if not source.is_file():
        raise AudioError("The file is not there, or is no regular file.", reason=Unusable.MISSING)
    if output.is_dir():
        raise ConfigurationError("The output is a folder.", hint="Give a file's name: -o mended.wav.")
    if output.exists() and output.samefile(source):
        raise ConfigurationError("The output is the input itself.", hint="Give another name: the original is kept.")


def _expect_short(gaps: Sequence[Gap], sample_rate: int) -> None:
    for gap in gaps:
        if gap.frames > LONGEST_SECONDS * sample_rate:
            raise ConfigurationError(
                f"A gap lasts {gap.frames / sample_rate:g} s; the longest that is filled lasts {LONGEST_SECONDS:g} s."
            )


def _copy(
    file: soundfile.SoundFile, written: soundfile.SoundFile, gaps: Sequence[Gap], repairer: Repairer, kind: str
) -> None:
    """All frames in order. A gap's surroundings on the left are what was written, so repaired where they were gaps."""
    context = round(repairer.context_seconds * file.samplerate)
    tail: NDArray[Any] = np.zeros((0, file.channels), dtype=kind)
    position = 0
    bounds = [*[gap.start for gap in gaps[1:]], file.frames]
    for gap, bound in zip(gaps, bounds, strict=True):
        tail = _pass(file, written, gap.start - position, tail, context, kind)
        file.seek(gap.end)
        after = file.read(min(context, bound - gap.end), dtype=kind, always_2d=True)
        left, right = formats.to_float(tail), formats.to_float(after)
        expect_finite(left)
        expect_finite(right)
        filled = formats.from_float(repairer.fill(left, right, gap.frames, file.samplerate), kind, written.subtype)
        written.write(filled)
        tail = np.concatenate([tail, filled])[-context:]
        file.seek(gap.end)
        position = gap.end
    _pass(file, written, file.frames - position, tail, context, kind)


def _pass(
    file: soundfile.SoundFile,
    written: soundfile.SoundFile,
    frames: int,
    tail: NDArray[Any],
    context: int,
    kind: str,
) -> NDArray[Any]:
    """Copy frames; the last ones written so far, as many as the context has."""
    while frames > 0:
        block = file.read(min(BLOCK, frames), dtype=kind, always_2d=True)
        if not len(block):
            raise AudioError("The audio ends before its end.", reason=Unusable.TRUNCATED)
        written.write(block)
        tail = np.concatenate([tail, block])[-context:]
        frames -= len(block)
    return tail


def _copy_tags(source: Path, written: soundfile.SoundFile, aside: Path) -> None:
    """Title, artist and the rest, where both formats can be tagged."""
    import mutagen

    written.close()
    try:
        old, new = mutagen.File(source), mutagen.File(aside)
        if old is None or new is None or not old.tags:
            return
        if new.tags is None:
            new.add_tags()
        if type(old.tags) is type(new.tags):
            for key, value in old.tags.items():
                new.tags[key] = value
            new.save()
    except mutagen.MutagenError:
        return  # tags that cannot be read are no reason not to mend the audio
