"""Where music may go on from: places whose past is like the present, and which an editor expects to come next."""

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

PAST_SECONDS = 1.0
"""What sounded this long ago counts 1/e of what sounds now."""
SHORTEST_SECONDS, LONGEST_SECONDS = 2.0, 8.0
"""For which music goes on from a place; it may leave it in between, where another place is like it."""
APART_SECONDS = 1.0
"""Between a place and where it is gone on from."""
CANDIDATES = 8
"""Of the likest places, among which the editor chooses."""
SIDE, SEAM = 64, 4
"""Frames on each side of a seam that the editor sees, and those of them that it is asked about."""
WORN = 1.0
"""By how much a place counts as less like the present after each time that it was heard."""


class Places:
    """What is known of a track's end.

    Args:
        audio: `[frames, channels]`, full scale 1, not silent.
        sample_rate: Hz.
        release: of the task `editor`.
    """

    def __init__(self, audio: NDArray[np.float64], sample_rate: int, release: Release) -> None:
        constants = cast(SpectrogramNormalisation, release.constants)  # as every release of this task has
        self._analysis = Analysis(release.manifest.features, constants, sample_rate)
        self._release, self._length = release, len(audio)
        factor = self._analysis.loudness(float(np.mean(np.square(audio))))
        with torch.inference_mode():
            # One channel after the other, so that no more than one is held as a spectrum.
            levels = sum(
                10 ** (self._analysis.bands(self._analysis.spectrum(self._one(audio, number, factor)).abs())[0] / 20)
                for number in range(audio.shape[1])
            )
            magnitudes = cast(Tensor, levels)[:, : self.known + 1] / audio.shape[1]
            self._levels = self._analysis.normalised(20 * torch.log10(magnitudes[None] + FLOOR))[0]
            self._unlike = _unlike(magnitudes**COMPRESSION, math.exp(-self.hop / (PAST_SECONDS * sample_rate)))
        self._heard = torch.zeros(self._unlike.shape[1])

    @staticmethod
    def _one(audio: NDArray[np.float64], number: int, factor: float) -> Tensor:
        return torch.from_numpy(audio[None, :, number] * factor).to(torch.float32)

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return self._analysis.hop

    @property
    def known(self) -> int:
        """The last frame whose whole window is known."""
        return max(0, (self._length - self._analysis.length // 2) // self.hop)

    def walk(self) -> Iterator[tuple[int, int, int]]:
        """Stretches to play one after the other, without an end.

        Yields:
            Where the music is left (samples; at first its end), where it goes on, and where that is left again.
            Nothing if there is no place.
        """
        leaving = self._leaving(self.known, self.known)
        left = self._length
        while leaving is not None:
            frame, place = leaving
            begin = left + (place - frame) * self.hop
            first = place + self._frames(SHORTEST_SECONDS)
            leaving = self._leaving(min(first, self.known), min(place + self._frames(LONGEST_SECONDS), self.known))
            if leaving is None:
                return
            self._heard[place : leaving[0]] += 1
            # The end itself lies a little behind the last frame.
            until = self._length if leaving[0] == self.known else leaving[0] * self.hop
            yield left, begin, until
            left = until

    def _frames(self, seconds: float) -> int:
        return math.ceil(seconds * self._analysis.rate / self.hop)

    def _leaving(self, first: int, last: int) -> tuple[int, int] | None:
        """The frame in between from which another place is likest, and that place; None if there is none."""
        apart, ahead = self._frames(APART_SECONDS), self._frames(SHORTEST_SECONDS)
        if self.known - ahead < apart:
            return None
        frames, places = torch.arange(first, last + 1), torch.arange(apart, self.known - ahead + 1)
        unlike = self._unlike[first : last + 1, apart : self.known - ahead + 1] * (1 + WORN * self._heard[places])
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
        score = like.clamp(min=TINY) * self._unexpected(pairs)
        return pairs[int(score.argmin())]

    def _unexpected(self, pairs: list[tuple[int, int]]) -> Tensor:
        """How far the music about a seam is from what the editor would put there, `[pairs]`, above 0."""
        levels = self._levels
        wide = min(SIDE, *(min(frame + 1, levels.shape[1] - 1 - place) for frame, place in pairs))
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


def _unlike(levels: Tensor, memory: float) -> Tensor:
    """How unlike the pasts of two frames are, 0 for the same ones to 1 for those without anything in common.

    Args:
        levels: `[bands, frames]`, not negative.
        memory: what a frame counts for less than the one after it, a factor.
    """
    energy = levels.square().sum(dim=0)
    found = (energy[:, None] + energy - 2 * levels.T @ levels).clamp(min=0)
    most = energy[:, None] + energy
    for number in range(1, len(found)):
        found[number, 1:] += memory * found[number - 1, :-1]
        most[number, 1:] += memory * most[number - 1, :-1]
    return found / most.clamp(min=TINY)
