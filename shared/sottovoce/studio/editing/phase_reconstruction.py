"""What fills a gap by magnitudes: sound whose spectrum has them, and which fits what is on both sides."""

from abc import abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sottovoce.audio.overlap_add import cross_fade, raised_cosine
from sottovoce.studio.editing.analysis import Analysis
from sottovoce.studio.editing.repairer import LpcRepairer, Repairer

ITERATIONS, SHAPINGS = 30, 3
TOUCHED = 0.2
"""Share of a window's energy that falls into the gap, from which on the frame is missing."""
SEAM_SECONDS = 0.025
"""From each end of a gap on; the predictor's extrapolation, which joins the surroundings without a step, fades out."""
TINY = 1e-7


class SpectralRepairer(Repairer):
    """Magnitudes in a way of its own, phases by iteration (Griffin & Lim, 1984) with all that is known held fixed.

    The iteration starts from what linear prediction extrapolates into the gap, so that tones go on in phase. Each
    channel is mended by itself, at the file's own rate.
    """

    @abstractmethod
    def analysis(self, sample_rate: int) -> Analysis:
        """Windows and bands at a file's rate."""

    @abstractmethod
    def filled(self, audio: Tensor, gap: slice, analysis: Analysis) -> Tensor:
        """The gap's samples, `[channels, gap]`.

        Args:
            audio: `[channels, samples]`, at the spec's loudness; linear prediction's in the gap.
            gap: samples.
            analysis: of this rate.
        """

    def fill(
        self, before: NDArray[np.float64], after: NDArray[np.float64], frames: int, sample_rate: int
    ) -> NDArray[np.float64]:
        """See `Repairer.fill`."""
        predicted = LpcRepairer().fill(before, after, frames, sample_rate).T
        known = np.concatenate([before, after])
        power = float(np.mean(np.square(known)))
        if power == 0:
            return predicted.T
        analysis = self.analysis(sample_rate)
        factor = analysis.loudness(power)
        whole = np.concatenate([before.T, predicted, after.T], axis=1) * factor
        gap = slice(len(before), len(before) + frames)
        with torch.inference_mode():
            found = self.filled(torch.from_numpy(whole).to(torch.float32), gap, analysis)
        peak = np.abs(known).max()
        filled = np.clip(found.numpy().astype(np.float64) / factor, -2 * peak, 2 * peak)
        weight = _seams(frames, round(SEAM_SECONDS * sample_rate), len(before) > 0, len(after) > 0)
        return cross_fade(predicted.T, filled.T, weight)


def phased(audio: Tensor, gap: slice, targets: Tensor, missing: Tensor, analysis: Analysis) -> Tensor:
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
        spectrum[:, :, inside] = targets * phases / phases.abs().clamp(min=TINY)
        near[:, inner] = analysis.audio(spectrum, near.shape[1])[:, inner]
        spectrum = analysis.spectrum(near)
    return near[:, inner]


def shaped(fine: Tensor, wanted: Tensor, analysis: Analysis) -> Tensor:
    """Fine structure with the bands' levels as they are wanted, in dB; beyond the highest band it stays as it is."""
    found = fine
    for _ in range(SHAPINGS):
        gains = 10 ** ((wanted - analysis.bands(found)) / 20)
        found = torch.where(analysis.covered[:, None], found * analysis.bins(gains), found)
    return found


def partly(missing: Tensor) -> bool:
    """Whether some of `[frames]` are missing, and not all: only then is there more to know than linear prediction says.

    A drop-out of a few milliseconds takes `TOUCHED` of no window's energy.
    """
    return bool(missing.any()) and not bool(missing.all())


def ends(missing: Tensor) -> tuple[int, int]:
    """The first and the last missing frame of `[frames]`."""
    places = missing.nonzero()[:, 0]
    return int(places[0]), int(places[-1])


def touched(gap: slice, frames: int, analysis: Analysis) -> Tensor:
    """Which frames have more than `TOUCHED` of their window's energy in the gap, `[frames]`."""
    energy = torch.hann_window(analysis.length).square().cumsum(0)
    energy = torch.cat([torch.zeros(1), energy / energy[-1]])
    starts = torch.arange(frames) * analysis.hop - analysis.length // 2
    ends = [(edge - starts).clamp(0, analysis.length) for edge in (gap.start, gap.stop)]
    return energy[ends[1]] - energy[ends[0]] > TOUCHED


def _seams(frames: int, width: int, from_left: bool, from_right: bool) -> NDArray[np.float64]:
    """How much of the model's audio there is at each sample of a gap, `[frames]`: nothing at its ends."""
    width = min(width, frames // 2)
    weight = np.ones(frames)
    rise = raised_cosine(width)
    if from_left:
        weight[:width] *= rise
    if from_right:
        weight[frames - width :] *= rise[::-1]
    return weight
