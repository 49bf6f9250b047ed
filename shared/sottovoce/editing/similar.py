"""Fills gaps by what the music itself does elsewhere: places whose surroundings are alike say what is missing.

Exemplar-based inpainting, as of images (Criminisi, Pérez & Toyama, IEEE Trans. Image Processing 13(9), 2004). Not one
place is copied: magnitudes of several are averaged by how alike they are, and what that average lacks at both ends of
the gap is added on a straight line between them. So it interpolates what excerpts do not explain.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from sottovoce.editing.analysis import Analysis
from sottovoce.editing.resound import TINY, SpectralRepairer, phased, touched
from sottovoce.features.normalisation import SpectrogramNormalisation, shipped
from sottovoce.features.spec import View

CONTEXT_SECONDS = 15.0
"""On each side of a gap, where excerpts are looked for."""
BESIDE_SECONDS = 0.25
"""On each side of a gap and of an excerpt, by which they are compared."""
FINE = 4
"""Places to each hop where an excerpt may begin."""
EXCERPTS = 8
SHARPNESS = 4.0
"""How much less an excerpt counts that is less alike than the best one."""
COMPRESSION = 0.5
"""Power of the magnitudes that are compared: loud ones would drown the others."""
NEAR = 12
"""Frames from a gap at which a difference counts 1/e of what it counts beside it."""


@dataclass(frozen=True)
class Excerpts:
    """Places that are like a gap's, the likest first.

    Args:
        shifts: from the gap to each, samples, `[excerpts]`.
        weights: of sum 1, `[excerpts]`.
    """

    shifts: Tensor
    weights: Tensor


class SimilarRepairer(SpectralRepairer):
    """Every channel by excerpts of the same places, so that they stay together."""

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
        if bool(missing.all()):
            return audio[:, gap]
        excerpts = alike(audio, magnitudes, missing, analysis)
        targets = _expected(audio, magnitudes, missing, excerpts, analysis)
        return phased(audio, gap, targets, missing, analysis)


def alike(audio: Tensor, magnitudes: Tensor, missing: Tensor, analysis: Analysis) -> Excerpts:
    """The places in `[channels, samples]`, of magnitudes `[channels, bins, frames]`, whose surroundings are most like
    those of the missing frames."""
    compressed = _fine(audio, magnitudes, analysis)
    places = missing.nonzero()[:, 0]
    first, last, total = int(places[0]), int(places[-1]), len(missing)
    beside = math.ceil(BESIDE_SECONDS * analysis.rate / analysis.hop)
    offsets = torch.cat(
        [torch.arange(max(-beside, -first), 0), last - first + torch.arange(1, min(beside + 1, total - last))]
    )
    lowest, highest = min(int(offsets.min()), 0), max(int(offsets.max()), last - first)
    begins = torch.arange(-FINE * lowest, compressed.shape[2] - FINE * highest)
    apart = (begins + FINE * highest < FINE * first) | (begins + FINE * lowest > FINE * last)
    begins = begins[apart]
    if not len(begins):
        return Excerpts(begins, begins.float())
    distances = torch.zeros(len(begins))
    for offset in offsets.tolist():
        away = -offset if offset < 0 else offset - (last - first)
        difference = compressed[:, :, begins + FINE * offset] - compressed[:, :, FINE * (first + offset), None]
        distances += math.exp(-away / NEAR) * difference.square().sum(dim=(0, 1))
    chosen: list[int] = []
    for number in distances.argsort().tolist():
        if all(abs(int(begins[number] - begins[other])) >= FINE for other in chosen):
            chosen.append(number)
            if len(chosen) == EXCERPTS:
                break
    found = distances[chosen]
    weights = torch.softmax(-SHARPNESS * found / found[0].clamp(min=TINY), dim=0)
    return Excerpts(((begins[chosen] / FINE - first) * analysis.hop).round().long(), weights)


def _fine(audio: Tensor, magnitudes: Tensor, analysis: Analysis) -> Tensor:
    """Compressed magnitudes of bands at every quarter of a hop, `[channels, bands, FINE · frames]`."""
    later = [analysis.spectrum(audio[:, part * analysis.hop // FINE :]).abs() for part in range(1, FINE)]
    steps = [analysis.bands(some) for some in (magnitudes, *later)]
    frames = min(step.shape[2] for step in steps)
    levels = torch.stack([step[:, :, :frames] for step in steps], dim=3).flatten(2)
    return torch.pow(10.0, levels * (COMPRESSION / 20))


def _expected(audio: Tensor, magnitudes: Tensor, missing: Tensor, excerpts: Excerpts, analysis: Analysis) -> Tensor:
    """Magnitudes of the missing frames, `[channels, bins, missing]`."""
    places = missing.nonzero()[:, 0]
    first, last = int(places[0]), int(places[-1])
    count = last - first + 1
    mean = torch.zeros(*magnitudes.shape[:2], count + 2)  # with a frame on each side
    margin = math.ceil(analysis.length / analysis.hop)
    start, length = (first - 1 - margin) * analysis.hop, (count + 1 + 2 * margin) * analysis.hop
    for shift, weight in zip(excerpts.shifts.tolist(), excerpts.weights.tolist(), strict=True):
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
