"""Candidates for the magnitudes in a gap, and features that tell a network how far to trust each of them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sottovoce.studio.editing.analysis import Analysis
from sottovoce.studio.editing.phase_reconstruction import TINY, first_and_last

NAMES = (
    "line",
    "line in dB",
    "left",
    "right",
    "linear prediction",
    "best match",
    "matches",
    "matches and line",
    "many matches and line",
    "matches per band and line",
    "matches per wide band and line",
)
CANDIDATES = len(NAMES)
DEFAULT = NAMES.index("matches and line")
"""Index of the candidate that is close to the best one on most music."""
CONTEXT_SECONDS = 0.25
"""Context on each side of a gap that is compared with other passages, seconds."""
EDGE = 4
"""Frames on each side of a gap whose magnitudes are separate features; a gap with fewer has no candidates."""
FEATURES = 2 * EDGE + 13
"""Number of features at each band and frame."""
SUBFRAMES = 4
"""Offsets within a hop at which a matching passage may start."""
FEW, MANY = 8, 32
"""Numbers of matches that are averaged: few and many."""
BAND_MATCHES, BAND_WIDTHS = 64, (5, 33)
"""Number of matches that each band chooses individually (many are a quarter of a hop apart), and widths, in bands, of
the neighbourhoods compared for that."""
SHARPNESS, SOFT_SHARPNESS = 4.0, 2.0
"""Decay of a match's weight with its distance over the smallest distance: for few matches, and for many."""
COMPRESSION = 0.5
"""Exponent of magnitudes before they are compared, so that loud bands do not dominate."""
DISTANCE_DECAY = 12
"""Distance from a gap, in frames, at which a difference weighs 1/e of one beside it."""
MAGNITUDE_FLOOR = 1e-3
"""Magnitude, as a fraction of the scale, far below which networks see no difference."""


@dataclass(frozen=True)
class Matches:
    """Passages of the track whose surroundings resemble those of a gap.

    Args:
        levels: compressed magnitudes of bands at every subframe, `[channels, bands, SUBFRAMES · frames]`.
        starts: subframes at which a match may start, `[n]`.
        distances: between the surroundings of each start and those of the gap, `[bands, n]`.
        chosen: indices into `starts` of the closest ones that lie at least a hop apart, closest first, `[matches]`.
    """

    levels: Tensor
    starts: Tensor
    distances: Tensor
    chosen: Tensor

    def weights(self, count: int, sharpness: float) -> Tensor:
        """Weights of the `count` closest matches, `[matches]`, which sum to 1."""
        return _weights(self.distances[:, self.chosen[:count]].sum(dim=0), sharpness)

    def magnitudes(self, chosen: Tensor, frames: Tensor) -> Tensor:
        """Magnitudes of bands at frames relative to the first missing one, `[channels, bands, chosen, frames]`."""
        return self.levels[:, :, self.starts[chosen][:, None] + SUBFRAMES * frames] ** (1 / COMPRESSION)


@dataclass(frozen=True)
class Candidates:
    """The gating network's input for one gap.

    Args:
        magnitudes: magnitudes of bands, divided by `scale`, `[channels, CANDIDATES, bands, missing + 2]`: with the
            known frame on each side, where a candidate's error shows.
        features: `[channels, FEATURES, bands, missing]`.
        scale: RMS magnitude around the gap, `[channels, 1, 1]`.
    """

    magnitudes: Tensor
    features: Tensor
    scale: Tensor


def context_frames(analysis: Analysis) -> int:
    """Frames on each side of a gap that are compared."""
    return math.ceil(CONTEXT_SECONDS * analysis.rate / analysis.hop)


def find_matches(levels: Tensor, missing: Tensor, analysis: Analysis) -> Matches:
    """Find the passages whose surroundings are most like those of the missing frames; there may be none.

    Args:
        levels: as `subframe_levels` gives them.
        missing: which frames are missing, `[frames]`.
        analysis: analysis for the audio's sample rate.
    """
    first, last = first_and_last(missing)
    total, wide = len(missing), context_frames(analysis)
    offsets = torch.cat(
        [torch.arange(max(-wide, -first), 0), last - first + torch.arange(1, min(wide + 1, total - last))]
    )
    lowest, highest = min(int(offsets.min()), 0), max(int(offsets.max()), last - first)
    starts = torch.arange(-SUBFRAMES * lowest, levels.shape[2] - SUBFRAMES * highest)
    starts = starts[
        (starts + SUBFRAMES * highest < SUBFRAMES * first) | (starts + SUBFRAMES * lowest > SUBFRAMES * last)
    ]
    distances = torch.zeros(levels.shape[1], len(starts))
    for offset in offsets.tolist():
        away = -offset if offset < 0 else offset - (last - first)
        here = min(SUBFRAMES * (first + offset), levels.shape[2] - 1)
        difference = levels[:, :, starts + SUBFRAMES * offset] - levels[:, :, here, None]
        distances += math.exp(-away / DISTANCE_DECAY) * difference.square().sum(dim=0)
    chosen: list[int] = []
    for number in distances.sum(dim=0).argsort().tolist():
        if all(abs(int(starts[number] - starts[other])) >= SUBFRAMES for other in chosen):
            chosen.append(number)
            if len(chosen) == MANY:
                break
    return Matches(levels, starts, distances, torch.tensor(chosen, dtype=torch.long))


def subframe_levels(audio: Tensor, magnitudes: Tensor, analysis: Analysis) -> Tensor:
    """Compressed magnitudes of bands at every subframe, `[channels, bands, SUBFRAMES · frames]`.

    Args:
        audio: `[channels, samples]`.
        magnitudes: magnitudes of its spectrum, `[channels, bins, frames]`.
        analysis: analysis for its sample rate.
    """
    later = [analysis.spectrum(audio[:, part * analysis.hop // SUBFRAMES :]).abs() for part in range(1, SUBFRAMES)]
    steps = [analysis.bands(some) for some in (magnitudes, *later)]
    frames = min(step.shape[2] for step in steps)
    levels = torch.stack([step[:, :, :frames] for step in steps], dim=3).flatten(2)
    return torch.pow(10.0, levels * (COMPRESSION / 20))


def candidates_for(magnitudes: Tensor, missing: Tensor, matches: Matches, analysis: Analysis) -> Candidates | None:
    """All candidates for the missing frames; None if there is no match, or too little context.

    Args:
        magnitudes: `[channels, bins, frames]`, with linear prediction's in the gap.
        missing: which frames are missing, `[frames]`.
        matches: matches for this gap.
        analysis: analysis for the audio's sample rate.
    """
    first, last = first_and_last(missing)
    wide, count = context_frames(analysis), last - first + 1
    if not len(matches.starts) or first < EDGE or len(missing) - 1 - last < EDGE:
        return None
    start = max(0, first - wide)
    near = torch.pow(10.0, analysis.bands(magnitudes[:, :, start : last + 1 + wide]) / 20)
    first, last = first - start, last - start
    left, right = near[:, :, :first], near[:, :, last + 1 :]
    known = torch.cat([left, right], dim=2)
    scale = known.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp(min=TINY)
    frames = torch.arange(-1, count + 1)
    share = ((frames + 1) / (count + 1)).float()
    before, after = left[:, :, -1:], right[:, :, :1]
    matching = matches.magnitudes(matches.chosen, frames)
    few = matching[:, :, :FEW]
    mean = (few * matches.weights(FEW, SHARPNESS)[:, None]).sum(dim=2)
    others = [(matching * matches.weights(MANY, SOFT_SHARPNESS)[:, None]).sum(dim=2)]
    others += [_per_band(matches, frames, width) for width in BAND_WIDTHS]
    candidates = [
        torch.lerp(before, after, share),
        torch.lerp(before.log(), after.log(), share).exp(),
        before.expand_as(mean),
        after.expand_as(mean),
        near[:, :, first - 1 : last + 2],
        matching[:, :, 0],
        mean,
        *(_anchored(some, before, after, share) for some in (mean, *others)),
    ]
    return Candidates(
        torch.stack(candidates, dim=1) / scale[:, None], _features(left, right, matches, few, count, scale), scale
    )


def _anchored(candidate: Tensor, before: Tensor, after: Tensor, share: Tensor) -> Tensor:
    """A candidate `[channels, bands, missing + 2]` made to agree with the known frame on each side.

    Its errors there are interpolated linearly and added.
    """
    error = torch.lerp(before - candidate[:, :, :1], after - candidate[:, :, -1:], share)
    return (candidate + error).clamp(min=0)


def _per_band(matches: Matches, frames: Tensor, width: int) -> Tensor:
    """The mean of matches that each band chooses by the `width` bands around it, `[channels, bands, frames]`."""
    summed = torch.nn.functional.pad(matches.distances.cumsum(dim=0), (0, 0, 1, 0))
    bands = torch.arange(len(matches.distances))
    around = summed[(bands + width // 2 + 1).clamp(max=len(bands))] - summed[(bands - width // 2).clamp(min=0)]
    nearest, chosen = around.topk(min(BAND_MATCHES, around.shape[1]), dim=1, largest=False)
    starts = matches.starts[chosen][:, :, None]
    matching = matches.levels[:, bands[:, None, None], starts + SUBFRAMES * frames] ** (1 / COMPRESSION)
    return (matching * _weights(nearest, SOFT_SHARPNESS)[:, :, None]).sum(dim=2)


def _weights(distances: Tensor, sharpness: float) -> Tensor:
    """Softmax weights of matches, whose distances `[..., matches]` ascend."""
    return torch.softmax(-sharpness * distances / distances[..., :1].clamp(min=TINY), dim=-1)


def _features(left: Tensor, right: Tensor, matches: Matches, few: Tensor, count: int, scale: Tensor) -> Tensor:
    """See `Candidates.features`."""
    channels, bands = left.shape[:2]
    errors, weights = [], matches.weights(FEW, SHARPNESS)
    for side, frames in (
        (left, torch.arange(-left.shape[2], 0)),
        (right, count + torch.arange(right.shape[2])),
    ):
        mean = (matches.magnitudes(matches.chosen[:FEW], frames) * weights[:, None]).sum(dim=2)
        errors.append((mean - side).square().mean(dim=2).sqrt() / scale[:, :, 0])
    per_band = [
        *(
            log_magnitudes(side[:, :, number] / scale[:, :, 0])
            for side in (left[:, :, -EDGE:], right[:, :, :EDGE])
            for number in range(EDGE)
        ),
        *(log_magnitudes(side.mean(dim=2) / scale[:, :, 0]) for side in (left, right)),
        *(log_magnitudes(side.std(dim=2) / scale[:, :, 0]) for side in (left, right)),
        *map(log_magnitudes, errors),
    ]
    whole = matches.distances[:, matches.chosen[:FEW]].sum(dim=0)
    energy = torch.cat([left, right], dim=2).sum(dim=(1, 2))[:, None, None]  # of compressed magnitudes
    steps = torch.arange(count)
    spread = log_magnitudes(few[:, :, :, 1:-1].std(dim=2, correction=0) / scale)
    others = [
        torch.log(whole[0].clamp(min=TINY) / energy.clamp(min=TINY)).expand(channels, bands, count) / 3,
        torch.log(whole[-1].clamp(min=TINY) / whole[0].clamp(min=TINY)).expand(channels, bands, count),
        torch.full((channels, bands, count), math.log(count / 12)),
        torch.exp(-steps / 4).expand(channels, bands, count),
        torch.exp(-steps.flip(0) / 4).expand(channels, bands, count),
        (torch.arange(bands) / bands)[:, None].expand(channels, bands, count),
    ]
    flat = torch.stack(per_band, dim=1)[..., None].expand(channels, len(per_band), bands, count)
    return torch.cat([flat, spread[:, None], torch.stack(others, dim=1)], dim=1)


def log_magnitudes(magnitudes: Tensor) -> Tensor:
    """Logarithms of magnitudes over the scale, as networks take them."""
    return torch.log10(magnitudes + MAGNITUDE_FLOOR)
