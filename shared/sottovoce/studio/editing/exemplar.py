"""Fills gaps by what the music itself does elsewhere: places whose surroundings are alike say what is missing.

Exemplar-based inpainting, as of images (Criminisi, Pérez & Toyama, IEEE Trans. Image Processing 13(9), 2004). Not one
place is copied: magnitudes of several are averaged by how alike they are, and what that average lacks at both ends of
the gap is added on a straight line between them. A small network that learned on public audio says where to believe
that, and where linear prediction, a straight line or other places.
"""

from typing import cast

import torch
from torch import Tensor

from sottovoce.features.normalisation import SpectrogramNormalisation, shipped
from sottovoce.features.spec import View
from sottovoce.features.spectrogram import FLOOR
from sottovoce.studio.editing import candidates, gating
from sottovoce.studio.editing.analysis import Analysis
from sottovoce.studio.editing.candidates import PLACES, SHARPNESS, Places
from sottovoce.studio.editing.phase_reconstruction import SpectralRepairer, ends, partly, phased, shaped, touched

CONTEXT_SECONDS = 15.0
"""On each side of a gap, where places are looked for."""
LONGEST_SECONDS = 1.5
"""Of gaps that the network is asked about: it learned on none so long."""


class ExemplarRepairer(SpectralRepairer):
    """Every channel by the same places, so that they stay together."""

    name = "similar"
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
        missing = touched(gap, magnitudes.shape[2], analysis)
        if not partly(missing):
            return audio[:, gap]
        places = candidates.find(candidates.fine(audio, magnitudes, analysis), missing, analysis)
        targets = _expected(audio, magnitudes, missing, places, analysis)
        short = gap.stop - gap.start <= LONGEST_SECONDS * analysis.rate
        known = candidates.evidence(magnitudes, missing, places, analysis) if short else None
        if known is not None:
            levels = 20 * torch.log10(gating.mixed(gating.shipped(), known).clamp(min=FLOOR))
            targets = shaped((targets + _line(magnitudes, missing)) / 2, levels, analysis)
        return phased(audio, gap, targets, missing, analysis)


def _line(magnitudes: Tensor, missing: Tensor) -> Tensor:
    """Magnitudes of the missing frames on a straight line, `[channels, bins, missing]`."""
    first, last = ends(missing)
    share = (torch.arange(last - first + 1) + 1) / (last - first + 2)
    return torch.lerp(magnitudes[:, :, first - 1, None], magnitudes[:, :, last + 1, None], share)


def _expected(audio: Tensor, magnitudes: Tensor, missing: Tensor, places: Places, analysis: Analysis) -> Tensor:
    """Magnitudes of the missing frames by the rule alone, `[channels, bins, missing]`."""
    first, last = ends(missing)
    count = last - first + 1
    mean = torch.zeros(*magnitudes.shape[:2], count + 2)  # with a frame on each side
    margin = -(-analysis.length // analysis.hop)
    start, length = (first - 1 - margin) * analysis.hop, (count + 1 + 2 * margin) * analysis.hop
    chosen, weights = places.chosen[:PLACES], places.weights(PLACES, SHARPNESS)
    shifts = ((places.begins[chosen] / candidates.FINE - first) * analysis.hop).round().long()
    for shift, weight in zip(shifts.tolist(), weights.tolist(), strict=True):
        heard = analysis.spectrum(_slice(audio, start + shift, length)).abs()
        mean += weight * heard[:, :, margin : margin + count + 2]
    left = magnitudes[:, :, first - 1] - mean[:, :, 0] if first else None
    right = magnitudes[:, :, last + 1] - mean[:, :, -1] if last + 1 < len(missing) else None
    lacking_left = cast(Tensor, right if left is None else left)[:, :, None]
    lacking_right = cast(Tensor, left if right is None else right)[:, :, None]
    line = torch.lerp(lacking_left, lacking_right, (torch.arange(count) + 1) / (count + 1))
    return (mean[:, :, 1:-1] + line).clamp(min=0)


def _slice(audio: Tensor, start: int, length: int) -> Tensor:
    """Samples from anywhere, silence beyond the ends."""
    inside = audio[:, max(start, 0) : max(start + length, 0)]
    before = max(-start, 0)
    return torch.nn.functional.pad(inside, (before, length - before - inside.shape[1]))
