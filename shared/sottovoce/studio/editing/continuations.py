"""Finds where a track can continue from: passages with a similar past, ranked by how well an editor predicts them."""

import math
from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sottovoce.features.normalisation import SpectrogramNormalisation
from sottovoce.features.spectrogram import FLOOR
from sottovoce.models.interfaces import Editor
from sottovoce.release.load import Release
from sottovoce.studio.editing.analysis import Analysis
from sottovoce.studio.editing.candidates import COMPRESSION
from sottovoce.studio.editing.phase_reconstruction import TINY

MEMORY_DECAY_SECONDS = 1.0
"""Time constant in seconds of the exponential decay with which past frames are compared."""
SHORTEST_SECONDS, LONGEST_SECONDS = 2.0, 8.0
"""Shortest and longest segment between two jumps, in seconds."""
SMALLEST_JUMP_SECONDS = 1.0
"""Smallest distance of a jump, in seconds."""
CANDIDATES = 8
"""Number of most similar jumps among which the editor chooses."""
CONTEXT, SEAM = 64, 4
"""Frames on each side of a jump that the editor sees, and frames among them that it predicts."""
REPETITION_PENALTY = 1.0
"""Relative increase of a passage's dissimilarity after each time it was played."""


class Continuations:
    """Chooses segments of a track that continue it.

    Args:
        audio: `[frames, channels]`, full scale 1, not silent.
        sample_rate: Hz.
        release: a release of the task `editor`.
    """

    def __init__(self, audio: NDArray[np.float64], sample_rate: int, release: Release) -> None:
        constants = cast(SpectrogramNormalisation, release.constants)  # every release of this task has these
        self._analysis = Analysis(release.manifest.features, constants, sample_rate)
        self._release, self._length = release, len(audio)
        factor = self._analysis.loudness(float(np.mean(np.square(audio))))
        with torch.inference_mode():
            # Channel by channel, so that memory holds the spectrum of one only.
            levels = sum(
                10
                ** (self._analysis.bands(self._analysis.spectrum(self._channel(audio, number, factor)).abs())[0] / 20)
                for number in range(audio.shape[1])
            )
            magnitudes = cast(Tensor, levels)[:, : self.known + 1] / audio.shape[1]
            self._levels = self._analysis.normalised(20 * torch.log10(magnitudes[None] + FLOOR))[0]
            self._dissimilarity = _dissimilarity(
                magnitudes**COMPRESSION, math.exp(-self.hop / (MEMORY_DECAY_SECONDS * sample_rate))
            )
        self._plays = torch.zeros(self._dissimilarity.shape[1])

    @staticmethod
    def _channel(audio: NDArray[np.float64], number: int, factor: float) -> Tensor:
        return torch.from_numpy(audio[None, :, number] * factor).to(torch.float32)

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return self._analysis.hop

    @property
    def known(self) -> int:
        """Index of the last frame whose window lies inside the track."""
        return max(0, (self._length - self._analysis.length // 2) // self.hop)

    def segments(self) -> Iterator[tuple[int, int, int]]:
        """Segments to play one after the other, endlessly; none if the track is too short.

        Yields:
            The sample at which playback leaves the track (first its end), the sample at which the next segment starts,
            and the one at which it ends.
        """
        leaving = self._best_jump(self.known, self.known)
        left = self._length
        while leaving is not None:
            frame, place = leaving
            begin = left + (place - frame) * self.hop
            first = place + self._frames(SHORTEST_SECONDS)
            leaving = self._best_jump(min(first, self.known), min(place + self._frames(LONGEST_SECONDS), self.known))
            if leaving is None:
                return
            self._plays[place : leaving[0]] += 1
            # The end itself lies a little behind the last frame.
            until = self._length if leaving[0] == self.known else leaving[0] * self.hop
            yield left, begin, until
            left = until

    def _frames(self, seconds: float) -> int:
        return math.ceil(seconds * self._analysis.rate / self.hop)

    def _best_jump(self, first: int, last: int) -> tuple[int, int] | None:
        """The best jump from a frame between `first` and `last`: that frame and its target; None if there is none."""
        apart, ahead = self._frames(SMALLEST_JUMP_SECONDS), self._frames(SHORTEST_SECONDS)
        if self.known - ahead < apart:
            return None
        frames, places = torch.arange(first, last + 1), torch.arange(apart, self.known - ahead + 1)
        unlike = self._dissimilarity[first : last + 1, apart : self.known - ahead + 1] * (
            1 + REPETITION_PENALTY * self._plays[places]
        )
        unlike = unlike.masked_fill((frames[:, None] - places).abs() < apart, math.inf)
        pairs: list[tuple[int, int]] = []
        left = unlike.clone()
        while len(pairs) < CANDIDATES and float(left.min()) < math.inf:
            number, place = divmod(int(left.argmin()), len(places))
            pairs.append((int(frames[number]), int(places[place])))
            left[:, max(0, place - SEAM) : place + SEAM + 1] = math.inf
        if not pairs:
            return None
        like = torch.stack([unlike[frame - first, place - apart] for frame, place in pairs])
        score = like.clamp(min=TINY) * self._surprise(pairs)
        return pairs[int(score.argmin())]

    def _surprise(self, pairs: list[tuple[int, int]]) -> Tensor:
        """The editor's prediction error around each jump, `[pairs]`, above 0."""
        levels = self._levels
        wide = min(CONTEXT, *(min(frame + 1, levels.shape[1] - 1 - place) for frame, place in pairs))
        values = torch.stack(
            [
                torch.cat([levels[:, frame + 1 - wide : frame + 1], levels[:, place + 1 : place + 1 + wide]], dim=1)
                for frame, place in pairs
            ]
        )
        missing = torch.zeros(len(pairs), values.shape[2], dtype=torch.bool)
        missing[:, max(1, wide - SEAM) : wide + min(SEAM, wide - 1)] = True
        family = cast(Editor, self._release.family)
        with torch.inference_mode():
            found = family.restore(self._release.model, values, missing, torch.zeros(len(pairs), dtype=torch.bool))
        errors = (found - values).square().mean(dim=1)[missing].reshape(len(pairs), -1).mean(dim=1).sqrt()
        return errors.clamp(min=TINY)


def _dissimilarity(levels: Tensor, memory: float) -> Tensor:
    """Dissimilarity of the pasts of every two frames, from 0 (equal) to 1 (nothing in common), `[frames, frames]`.

    Args:
        levels: `[bands, frames]`, not negative.
        memory: weight of a frame relative to the one after it.
    """
    energy = levels.square().sum(dim=0)
    found = (energy[:, None] + energy - 2 * levels.T @ levels).clamp(min=0)
    most = energy[:, None] + energy
    for number in range(1, len(found)):
        found[number, 1:] += memory * found[number - 1, :-1]
        most[number, 1:] += memory * most[number - 1, :-1]
    return found / most.clamp(min=TINY)
