"""Detection of drop-outs: runs of digital silence, or of samples that are not finite, within sound."""

from pathlib import Path

import numpy as np
import soundfile

from sottovoce.audio.decoding import expect_rate
from sottovoce.audio.reject_reason import RejectReason
from sottovoce.errors import AudioError
from sottovoce.studio.editing.gaps import Gap

SHORTEST_SECONDS = 0.001
LONGEST_SECONDS = 2.0
"""Longest drop-out, seconds; a longer silence counts as a rest."""
SOUNDING = 0.003
"""RMS level (about -50 dBFS) required directly beside a gap; music that ends naturally fades below it."""
BESIDE_SECONDS = 0.005

_BLOCK = 1 << 16


def find_gaps(path: Path) -> tuple[tuple[Gap, ...], int]:
    """The drop-outs of a file, found in constant memory, and its sample rate (Hz).

    A frame is lost if all of its channels are exactly zero, or if one is not finite.

    Raises:
        AudioError: it cannot be decoded.
    """
    if not path.is_file():
        raise AudioError("The file does not exist, or is not a regular file.", reason=RejectReason.MISSING)
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            expect_rate(rate)
            candidates = _runs(file, max(2, round(SHORTEST_SECONDS * rate)), round(LONGEST_SECONDS * rate))
            beside = max(4, round(BESIDE_SECONDS * rate))
            found = [
                gap
                for gap in candidates
                if _sounds(file, gap.start - beside, gap.start) and _sounds(file, gap.end, gap.end + beside)
            ]
            return tuple(found), rate
    except soundfile.SoundFileError:
        raise AudioError("The file cannot be decoded as audio.", reason=RejectReason.CORRUPT) from None


def _runs(file: soundfile.SoundFile, shortest: int, longest: int) -> list[Gap]:
    """Runs of lost frames, except at the very start or end of the file."""
    runs, start, position = [], None, 0
    while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
        lost = (block == 0).all(axis=1) | ~np.isfinite(block).all(axis=1)
        edges = np.flatnonzero(np.diff(lost, prepend=start is not None))
        for edge in edges:
            at = position + int(edge)
            if start is None:
                start = at
            else:
                runs.append(Gap(start, at))
                start = None
        position += len(block)
    return [run for run in runs if run.start > 0 and shortest <= run.frames <= longest]


def _sounds(file: soundfile.SoundFile, start: int, end: int) -> bool:
    file.seek(max(start, 0))
    block = file.read(max(0, min(end, file.frames) - max(start, 0)), dtype="float64", always_2d=True)
    block = np.nan_to_num(block, posinf=0.0, neginf=0.0)
    return len(block) > 0 and float(np.sqrt(np.mean(np.square(block)))) > SOUNDING
