"""The watermark as an effect, and verification that it can be read back."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from sottovoce.studio.editing.effect import Blocks, read
from sottovoce.studio.provenance.watermark.detect import find
from sottovoce.studio.provenance.watermark.embed import stream


class Watermark:
    """Embeds the watermark in ranges of audio; samples outside are unchanged.

    Args:
        payload: 6 bytes.
        stretches: first frame and first frame after each range, in order; None for all of the audio.
        step_db: largest change of a band's level, dB.
    """

    name = "watermark"

    def __init__(self, payload: bytes, stretches: Sequence[tuple[int, int]] | None, step_db: float) -> None:
        self._payload, self._stretches, self._step_db = payload, stretches, step_db

    def process(self, blocks: Blocks, sample_rate: int) -> Blocks:
        """See `Effect.process`."""
        turned = (block.T for block in blocks)
        for block in stream(turned, sample_rate, self._payload, regions=self._stretches, step_db=self._step_db):
            yield block.T.astype(np.float64, copy=False)


def read_back(path: Path, payload: bytes, stretches: Sequence[tuple[int, int]] | None) -> float:
    """Score of a payload in a file, in the range where it is lowest; 0 if it is not found."""
    with soundfile.SoundFile(path) as file:
        rate = file.samplerate
        scores = []
        for first, last in stretches or [(0, file.frames)]:
            file.seek(first)
            marks = find((block.T for block in read(file, last)), rate)
            scores.append(next((mark.score for mark in marks if mark.payload == payload), 0.0))
    return min(scores)
