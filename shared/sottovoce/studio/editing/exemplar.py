"""Exemplar-based repair: fills gaps from passages of the same track with similar surroundings.

As in image inpainting (Criminisi, Pérez & Toyama, IEEE Trans. Image Processing 13(9), 2004), but without copying: the
magnitudes of several matches are averaged by similarity, and the average's errors at both ends of the gap are
interpolated and added. A small network, trained on public audio, weights this estimate against linear prediction,
interpolation and other matches.
"""

from typing import cast

import torch
from torch import Tensor

from sottovoce.features.normalisation import SpectrogramNormalisation, shipped
from sottovoce.features.spec import View
from sottovoce.features.spectrogram import FLOOR
from sottovoce.studio.editing import candidates, gating
from sottovoce.studio.editing.analysis import Analysis
from sottovoce.studio.editing.candidates import FEW, SHARPNESS, SUBFRAMES, Matches
from sottovoce.studio.editing.phase_reconstruction import (
    SpectralRepairer,
    first_and_last,
    missing_frames,
    partly_missing,
    reconstructed,
    with_band_levels,
)

CONTEXT_SECONDS = 15.0
"""Audio on each side of a gap that is searched for matches, in seconds."""
LONGEST_GATED_SECONDS = 1.5
"""Longest gap that the gating network is used for, in seconds: it was trained on shorter ones."""


class ExemplarRepairer(SpectralRepairer):
    """Fills every channel from the same matches, so that channels stay aligned."""

    name = "exemplar"
    context_seconds = CONTEXT_SECONDS

    def analysis(self, sample_rate: int) -> Analysis:
        """See `SpectralRepairer.analysis`."""
        from sottovoce.features.extract import default_spec

        return Analysis(
            default_spec(View.SPECTROGRAM), cast(SpectrogramNormalisation, shipped(View.SPECTROGRAM)), sample_rate
        )

    def filled(self, audio: Tensor, gap: slice, analysis: Analysis) -> Tensor:
        """See `SpectralRepairer.filled`."""
        magnitudes = analysis.spectrum(audio).abs()
        missing = missing_frames(gap, magnitudes.shape[2], analysis)
        if not partly_missing(missing):
            return audio[:, gap]
        matches = candidates.find_matches(candidates.subframe_levels(audio, magnitudes, analysis), missing, analysis)
        targets = _mean_of_matches(audio, magnitudes, missing, matches, analysis)
        short = gap.stop - gap.start <= LONGEST_GATED_SECONDS * analysis.rate
        known = candidates.candidates_for(magnitudes, missing, matches, analysis) if short else None
        if known is not None:
            levels = 20 * torch.log10(gating.gated(gating.shipped(), known).clamp(min=FLOOR))
            targets = with_band_levels((targets + _interpolated(magnitudes, missing)) / 2, levels, analysis)
        return reconstructed(audio, gap, targets, missing, analysis)


def _interpolated(magnitudes: Tensor, missing: Tensor) -> Tensor:
    """Linearly interpolated magnitudes of the missing frames, `[channels, bins, missing]`."""
    first, last = first_and_last(missing)
    share = (torch.arange(last - first + 1) + 1) / (last - first + 2)
    return torch.lerp(magnitudes[:, :, first - 1, None], magnitudes[:, :, last + 1, None], share)


def _mean_of_matches(
    audio: Tensor, magnitudes: Tensor, missing: Tensor, matches: Matches, analysis: Analysis
) -> Tensor:
    """Magnitudes of the missing frames without the network, `[channels, bins, missing]`."""
    first, last = first_and_last(missing)
    count = last - first + 1
    mean = torch.zeros(*magnitudes.shape[:2], count + 2)  # with a frame on each side
    margin = -(-analysis.length // analysis.hop)
    start, length = (first - 1 - margin) * analysis.hop, (count + 1 + 2 * margin) * analysis.hop
    chosen, weights = matches.chosen[:FEW], matches.weights(FEW, SHARPNESS)
    shifts = ((matches.starts[chosen] / SUBFRAMES - first) * analysis.hop).round().long()
    for shift, weight in zip(shifts.tolist(), weights.tolist(), strict=True):
        matching = analysis.spectrum(_slice(audio, start + shift, length)).abs()
        mean += weight * matching[:, :, margin : margin + count + 2]
    left = magnitudes[:, :, first - 1] - mean[:, :, 0] if first else None
    right = magnitudes[:, :, last + 1] - mean[:, :, -1] if last + 1 < len(missing) else None
    left_error = cast(Tensor, right if left is None else left)[:, :, None]
    right_error = cast(Tensor, left if right is None else right)[:, :, None]
    error = torch.lerp(left_error, right_error, (torch.arange(count) + 1) / (count + 1))
    return (mean[:, :, 1:-1] + error).clamp(min=0)


def _slice(audio: Tensor, start: int, length: int) -> Tensor:
    """Samples from any position, padded with silence beyond both ends of the audio."""
    inside = audio[:, max(start, 0) : max(start + length, 0)]
    before = max(-start, 0)
    return torch.nn.functional.pad(inside, (before, length - before - inside.shape[1]))
