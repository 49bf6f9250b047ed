"""Phase reconstruction for a gap's magnitudes, so that the audio fits both sides."""

from abc import abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sottovoce.audio.overlap_add import cross_fade, raised_cosine
from sottovoce.studio.editing.analysis import Analysis
from sottovoce.studio.editing.repairer import LpcRepairer, Repairer

ITERATIONS, SHAPINGS = 30, 3
MISSING_SHARE = 0.2
"""Share of a window's energy inside the gap above which its frame counts as missing."""
SEAM_SECONDS = 0.025
"""Length in seconds of the cross-fade at each end of a gap, from linear prediction, which joins without a step."""
TINY = 1e-7


class SpectralRepairer(Repairer):
    """Fills a gap from magnitudes, which subclasses estimate, with phases by iteration (Griffin & Lim, 1984).

    Known samples stay fixed. The iteration starts from linear prediction, so that tones continue in phase. Each channel
    is repaired separately, at the file's own sample rate.
    """

    @abstractmethod
    def analysis(self, sample_rate: int) -> Analysis:
        """The analysis at a file's sample rate."""

    @abstractmethod
    def filled(self, audio: Tensor, gap: slice, analysis: Analysis) -> Tensor:
        """Estimate the gap's samples, `[channels, gap]`.

        Args:
            audio: `[channels, samples]`, at the spec's loudness, with linear prediction in the gap.
            gap: the missing samples.
            analysis: analysis for the audio's sample rate.
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
        weight = _seam_weights(frames, round(SEAM_SECONDS * sample_rate), len(before) > 0, len(after) > 0)
        return cross_fade(predicted.T, filled.T, weight)


def reconstructed(audio: Tensor, gap: slice, targets: Tensor, missing: Tensor, analysis: Analysis) -> Tensor:
    """The gap's samples, such that the magnitudes of missing frames approach `targets`, `[channels, bins, missing]`."""
    # Samples more than two windows away have no effect. Only whole hops are cut off, so that frames stay in place.
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


def with_band_levels(fine: Tensor, wanted: Tensor, analysis: Analysis) -> Tensor:
    """Magnitudes scaled until bands have the wanted levels in dB; bins outside all bands are unchanged."""
    found = fine
    for _ in range(SHAPINGS):
        gains = 10 ** ((wanted - analysis.bands(found)) / 20)
        found = torch.where(analysis.covered[:, None], found * analysis.bins(gains), found)
    return found


def partly_missing(missing: Tensor) -> bool:
    """Whether some frames are missing and some are known; otherwise linear prediction is all there is.

    In a drop-out of a few milliseconds no frame counts as missing.
    """
    return bool(missing.any()) and not bool(missing.all())


def first_and_last(missing: Tensor) -> tuple[int, int]:
    """Indices of the first and the last missing frame; `missing` is `[frames]`."""
    places = missing.nonzero()[:, 0]
    return int(places[0]), int(places[-1])


def missing_frames(gap: slice, frames: int, analysis: Analysis) -> Tensor:
    """Which frames have more than `MISSING_SHARE` of their window's energy in the gap, bool, `[frames]`."""
    energy = torch.hann_window(analysis.length).square().cumsum(0)
    energy = torch.cat([torch.zeros(1), energy / energy[-1]])
    starts = torch.arange(frames) * analysis.hop - analysis.length // 2
    edges = [(edge - starts).clamp(0, analysis.length) for edge in (gap.start, gap.stop)]
    return energy[edges[1]] - energy[edges[0]] > MISSING_SHARE


def _seam_weights(frames: int, width: int, from_left: bool, from_right: bool) -> NDArray[np.float64]:
    """Weights of the reconstructed audio over linear prediction, `[frames]`: near 0 at the gap's ends."""
    width = min(width, frames // 2)
    weight = np.ones(frames)
    rise = raised_cosine(width)
    if from_left:
        weight[:width] *= rise
    if from_right:
        weight[frames - width :] *= rise[::-1]
    return weight
