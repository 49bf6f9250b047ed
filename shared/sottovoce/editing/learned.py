"""Fills gaps by a release: the model says how loud each band was, and phases are found that fit the surroundings."""

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sottovoce.editing.analysis import Analysis
from sottovoce.editing.repairer import LEARNED, LpcRepairer, Repairer
from sottovoce.features.normalisation import SpectrogramNormalisation
from sottovoce.models.base import Editor
from sottovoce.release.load import Release

ITERATIONS = 30
TOUCHED = 0.2
"""Share of a window's energy that falls into the gap, from which on the frame is missing."""
SEAM_SECONDS = 0.025
"""From each end of a gap on; the predictor's extrapolation, which joins the surroundings without a step, fades out."""
BESIDE = 2
"""Frames on each side whose magnitudes, bin by bin, the fine structure in the gap is taken from."""
_TINY = 1e-7
_SHAPINGS = 3


class LearnedRepairer(Repairer):
    """Magnitudes by an editor, phases by iteration (Griffin & Lim, 1984) with all that is known held fixed.

    The iteration starts from what linear prediction extrapolates into the gap, so that tones go on in phase. Bins
    beyond the model's bands are interpolated. Each channel is mended by itself, at the file's own rate.

    Args:
        release: of the task `editor`.

    Raises:
        ReleaseError: it is of another task.
    """

    name = LEARNED
    context_seconds = 2.0

    def __init__(self, release: Release) -> None:
        release.expect_task("editor")
        self._release = release
        self._constants = cast(SpectrogramNormalisation, release.constants)  # as every release of this task has

    def fill(
        self, before: NDArray[np.float64], after: NDArray[np.float64], frames: int, sample_rate: int
    ) -> NDArray[np.float64]:
        """See `Repairer.fill`."""
        predicted = LpcRepairer().fill(before, after, frames, sample_rate).T
        known = np.concatenate([before, after])
        power = float(np.mean(np.square(known)))
        if power == 0:
            return predicted.T
        analysis = Analysis(self._release.manifest.features, self._constants, sample_rate)
        factor = analysis.loudness(power)
        whole = np.concatenate([before.T, predicted, after.T], axis=1) * factor
        gap = slice(len(before), len(before) + frames)
        with torch.inference_mode():
            found = self._filled(torch.from_numpy(whole).to(torch.float32), gap, analysis)
        peak = np.abs(known).max()
        filled = np.clip(found.numpy().astype(np.float64) / factor, -2 * peak, 2 * peak)
        weight = _seams(frames, round(SEAM_SECONDS * sample_rate), len(before) > 0, len(after) > 0)
        mended: NDArray[np.float64] = (weight * filled + (1 - weight) * predicted).T
        return mended

    def levels(self, values: Tensor, missing: Tensor) -> Tensor:
        """What the missing frames of `[channels, bands, frames]` held, normalised; `missing` is `[frames]`."""
        family, count = cast(Editor, self._release.family), len(values)
        return family.restore(
            self._release.model, values, missing.expand(count, -1), torch.zeros(count, dtype=torch.bool)
        )

    def _filled(self, audio: Tensor, gap: slice, analysis: Analysis) -> Tensor:
        """The gap's samples, `[channels, gap]`."""
        spectrum = analysis.spectrum(audio)
        missing = _touched(gap, spectrum.shape[2], analysis)
        if bool(missing.all()):
            return audio[:, gap]
        magnitudes = spectrum.abs()
        wanted = analysis.decibels(self.levels(analysis.normalised(analysis.bands(magnitudes)), missing))
        targets = _shaped(_interpolated(magnitudes, missing), wanted[:, :, missing], analysis)
        return _phased(audio, gap, targets, missing, analysis)


def _phased(audio: Tensor, gap: slice, targets: Tensor, missing: Tensor, analysis: Analysis) -> Tensor:
    """The gap's samples whose missing frames come close to the targets `[channels, bins, missing]`."""
    # What is more than two windows away makes no difference: only whole hops are cut off, so that frames stay in place.
    first = max(0, int(missing.nonzero()[0, 0]) - 2 * analysis.length // analysis.hop)
    start = first * analysis.hop
    near = audio[:, start : gap.stop + 2 * analysis.length].clone()
    inner = slice(gap.start - start, gap.stop - start)
    spectrum = analysis.spectrum(near)
    inside = missing[first : first + spectrum.shape[2]]
    for _ in range(ITERATIONS):
        phases = spectrum[:, :, inside]
        spectrum[:, :, inside] = targets * phases / phases.abs().clamp(min=_TINY)
        near[:, inner] = analysis.audio(spectrum, near.shape[1])[:, inner]
        spectrum = analysis.spectrum(near)
    return near[:, inner]


def _touched(gap: slice, frames: int, analysis: Analysis) -> Tensor:
    """Which frames have more than `TOUCHED` of their window's energy in the gap, `[frames]`."""
    energy = torch.hann_window(analysis.length).square().cumsum(0)
    energy = torch.cat([torch.zeros(1), energy / energy[-1]])
    starts = torch.arange(frames) * analysis.hop - analysis.length // 2
    ends = [(edge - starts).clamp(0, analysis.length) for edge in (gap.start, gap.stop)]
    found: Tensor = energy[ends[1]] - energy[ends[0]] > TOUCHED
    return found


def _interpolated(magnitudes: Tensor, missing: Tensor) -> Tensor:
    """Magnitudes of the missing frames, bin by bin on a straight line (in dB), `[channels, bins, missing]`."""
    places = missing.nonzero()[:, 0]
    first, last = int(places[0]), int(places[-1])
    sides = [magnitudes[:, :, max(0, first - BESIDE) : first], magnitudes[:, :, last + 1 : last + 1 + BESIDE]]
    left, right = ((side + _TINY).log().mean(dim=2, keepdim=True) for side in sides)
    if first == 0:
        left = right
    if last == len(missing) - 1:
        right = left
    weight = (torch.arange(len(places)) + 1) / (len(places) + 1)
    return torch.lerp(left, right, weight).exp()


def _shaped(fine: Tensor, wanted: Tensor, analysis: Analysis) -> Tensor:
    """Fine structure with the bands' levels as the model wants them; beyond the highest band it stays as it is."""
    found = fine
    for _ in range(_SHAPINGS):
        gains = 10 ** ((wanted - analysis.bands(found)) / 20)
        found = torch.where(analysis.covered[:, None], found * analysis.bins(gains), found)
    return found


def _seams(frames: int, width: int, from_left: bool, from_right: bool) -> NDArray[np.float64]:
    """How much of the model's audio there is at each sample of a gap, `[frames]`: nothing at its ends."""
    width = min(width, frames // 2)
    weight = np.ones(frames)
    rise = np.sin(np.pi / 2 * (np.arange(width) + 0.5) / max(width, 1)) ** 2
    if from_left:
        weight[:width] *= rise
    if from_right:
        weight[frames - width :] *= rise[::-1]
    return weight
