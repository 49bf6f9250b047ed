"""What may have sounded in a gap: several guesses at every band's magnitude, and what tells how far to trust them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sottovoce.studio.editing.analysis import Analysis
from sottovoce.studio.editing.phase_reconstruction import TINY, ends

NAMES = (
    "line",
    "line in dB",
    "left",
    "right",
    "linear prediction",
    "likest place",
    "places",
    "places and line",
    "many places and line",
    "bands' places and line",
    "places of wider bands and line",
)
GUESSES = len(NAMES)
RULE = NAMES.index("places and line")
"""What is near to the best one of them on most music."""
BESIDE_SECONDS = 0.25
"""On each side of a gap and of a place, by which they are compared."""
EDGE = 4
"""Frames on each side that are told one by one; what has fewer of them is not for a network."""
ASIDE = 2 * EDGE + 13
"""Numbers that tell how far to trust the guesses at a band and frame."""
FINE = 4
"""Places to each hop where one may begin."""
PLACES, MANY = 8, 32
BAND_PLACES, BAND_WIDTHS = 64, (5, 33)
"""Places that each band chooses for itself, many of them a quarter of a hop apart; and over how many bands they are
compared."""
SHARPNESS, BLUNT = 4.0, 2.0
"""How much less a place counts that is less alike than the best one: of few places, and of many."""
COMPRESSION = 0.5
"""Power of the magnitudes that are compared: loud ones would drown the others."""
NEAR = 12
"""Frames from a gap at which a difference counts 1/e of what it counts beside it."""
LEAST = 1e-3
"""Of the scale: magnitudes far below it are all the same to a network."""


@dataclass(frozen=True)
class Places:
    """Where the music is like what is beside a gap.

    Args:
        levels: compressed magnitudes of bands at every quarter of a hop, `[channels, bands, FINE · frames]`.
        begins: quarters of hops at which what is like the gap may begin, `[n]`.
        distances: of what is beside them from what is beside the gap, `[bands, n]`.
        chosen: those of `begins` that are likest and at least a hop apart, indices, the likest first, `[places]`.
    """

    levels: Tensor
    begins: Tensor
    distances: Tensor
    chosen: Tensor

    def weights(self, count: int, sharpness: float) -> Tensor:
        """Of so many chosen ones, of sum 1, `[places]`."""
        return _weights(self.distances[:, self.chosen[:count]].sum(dim=0), sharpness)

    def magnitudes(self, chosen: Tensor, frames: Tensor) -> Tensor:
        """Of bands at some frames from the first missing one on, `[channels, bands, chosen, frames]`."""
        return self.levels[:, :, self.begins[chosen][:, None] + FINE * frames] ** (1 / COMPRESSION)


@dataclass(frozen=True)
class Evidence:
    """All that is known of a gap.

    Args:
        guesses: magnitudes of bands over `scale`, `[channels, GUESSES, bands, missing + 2]`: with the known frame on
            each side, where guesses are wrong by as much as they are known to be.
        aside: `[channels, ASIDE, bands, missing]`.
        scale: `[channels, 1, 1]`.
    """

    guesses: Tensor
    aside: Tensor
    scale: Tensor


def beside(analysis: Analysis) -> int:
    """Frames on each side by which places are compared."""
    return math.ceil(BESIDE_SECONDS * analysis.rate / analysis.hop)


def find(levels: Tensor, missing: Tensor, analysis: Analysis) -> Places:
    """The places of `fine` levels whose surroundings are most like those of the missing frames; there may be none."""
    first, last = ends(missing)
    total, wide = len(missing), beside(analysis)
    offsets = torch.cat(
        [torch.arange(max(-wide, -first), 0), last - first + torch.arange(1, min(wide + 1, total - last))]
    )
    lowest, highest = min(int(offsets.min()), 0), max(int(offsets.max()), last - first)
    begins = torch.arange(-FINE * lowest, levels.shape[2] - FINE * highest)
    begins = begins[(begins + FINE * highest < FINE * first) | (begins + FINE * lowest > FINE * last)]
    distances = torch.zeros(levels.shape[1], len(begins))
    for offset in offsets.tolist():
        away = -offset if offset < 0 else offset - (last - first)
        place = min(FINE * (first + offset), levels.shape[2] - 1)
        difference = levels[:, :, begins + FINE * offset] - levels[:, :, place, None]
        distances += math.exp(-away / NEAR) * difference.square().sum(dim=0)
    whole = distances.sum(dim=0)
    chosen: list[int] = []
    for number in whole.argsort().tolist():
        if all(abs(int(begins[number] - begins[other])) >= FINE for other in chosen):
            chosen.append(number)
            if len(chosen) == MANY:
                break
    return Places(levels, begins, distances, torch.tensor(chosen, dtype=torch.long))


def fine(audio: Tensor, magnitudes: Tensor, analysis: Analysis) -> Tensor:
    """Compressed magnitudes of bands at every quarter of a hop, `[channels, bands, FINE · frames]`.

    Args:
        audio: `[channels, samples]`.
        magnitudes: of its spectrum, `[channels, bins, frames]`.
        analysis: of its rate.
    """
    later = [analysis.spectrum(audio[:, part * analysis.hop // FINE :]).abs() for part in range(1, FINE)]
    steps = [analysis.bands(some) for some in (magnitudes, *later)]
    frames = min(step.shape[2] for step in steps)
    levels = torch.stack([step[:, :, :frames] for step in steps], dim=3).flatten(2)
    return torch.pow(10.0, levels * (COMPRESSION / 20))


def evidence(magnitudes: Tensor, missing: Tensor, places: Places, analysis: Analysis) -> Evidence | None:
    """What is known of the missing frames; None where too little is.

    Args:
        magnitudes: `[channels, bins, frames]`; linear prediction's in the gap.
        missing: which frames, `[frames]`.
        places: that are like it.
        analysis: of this rate.
    """
    first, last = ends(missing)
    wide, count = beside(analysis), last - first + 1
    if not len(places.begins) or first < EDGE or len(missing) - 1 - last < EDGE:
        return None
    start = max(0, first - wide)
    near = torch.pow(10.0, analysis.bands(magnitudes[:, :, start : last + 1 + wide]) / 20)
    first, last = first - start, last - start
    left, right = near[:, :, :first], near[:, :, last + 1 :]
    known = torch.cat([left, right], dim=2)
    scale = known.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp(min=TINY)
    frames = torch.arange(-1, count + 1)
    share = ((frames + 1) / (count + 1)).float()
    ahead, back = left[:, :, -1:], right[:, :, :1]
    heard = places.magnitudes(places.chosen, frames)
    few = heard[:, :, :PLACES]
    mean = (few * places.weights(PLACES, SHARPNESS)[:, None]).sum(dim=2)
    others = [(heard * places.weights(MANY, BLUNT)[:, None]).sum(dim=2)]
    others += [_of_bands(places, frames, width) for width in BAND_WIDTHS]
    guesses = [
        torch.lerp(ahead, back, share),
        torch.lerp(ahead.log(), back.log(), share).exp(),
        ahead.expand_as(mean),
        back.expand_as(mean),
        near[:, :, first - 1 : last + 2],
        heard[:, :, 0],
        mean,
        *(_met(some, ahead, back, share) for some in (mean, *others)),
    ]
    found = torch.stack(guesses, dim=1) / scale[:, None]
    return Evidence(found, _aside(left, right, places, few, count, scale), scale)


def _met(guess: Tensor, ahead: Tensor, back: Tensor, share: Tensor) -> Tensor:
    """A guess `[channels, bands, missing + 2]` with what it lacks at both ends added on a straight line."""
    lacking = torch.lerp(ahead - guess[:, :, :1], back - guess[:, :, -1:], share)
    return (guess + lacking).clamp(min=0)


def _of_bands(places: Places, frames: Tensor, width: int) -> Tensor:
    """Every band by places that are like the gap in so many bands around it, `[channels, bands, frames]`."""
    summed = torch.nn.functional.pad(places.distances.cumsum(dim=0), (0, 0, 1, 0))
    bands = torch.arange(len(places.distances))
    around = summed[(bands + width // 2 + 1).clamp(max=len(bands))] - summed[(bands - width // 2).clamp(min=0)]
    nearest, chosen = around.topk(min(BAND_PLACES, around.shape[1]), dim=1, largest=False)
    begins = places.begins[chosen][:, :, None]
    heard = places.levels[:, bands[:, None, None], begins + FINE * frames] ** (1 / COMPRESSION)
    return (heard * _weights(nearest, BLUNT)[:, :, None]).sum(dim=2)


def _weights(distances: Tensor, sharpness: float) -> Tensor:
    """Of places whose distances `[..., places]` rise, of sum 1."""
    return torch.softmax(-sharpness * distances / distances[..., :1].clamp(min=TINY), dim=-1)


def _aside(left: Tensor, right: Tensor, places: Places, few: Tensor, count: int, scale: Tensor) -> Tensor:
    """See `Evidence.aside`."""
    channels, bands = left.shape[:2]
    errors, weights = [], places.weights(PLACES, SHARPNESS)
    for side, frames in (
        (left, torch.arange(-left.shape[2], 0)),
        (right, count + torch.arange(right.shape[2])),
    ):
        heard = (places.magnitudes(places.chosen[:PLACES], frames) * weights[:, None]).sum(dim=2)
        errors.append((heard - side).square().mean(dim=2).sqrt() / scale[:, :, 0])
    told = [
        *(
            logs(side[:, :, number] / scale[:, :, 0])
            for side in (left[:, :, -EDGE:], right[:, :, :EDGE])
            for number in range(EDGE)
        ),
        *(logs(side.mean(dim=2) / scale[:, :, 0]) for side in (left, right)),
        *(logs(side.std(dim=2) / scale[:, :, 0]) for side in (left, right)),
        *map(logs, errors),
    ]
    whole = places.distances[:, places.chosen[:PLACES]].sum(dim=0)
    own = torch.cat([left, right], dim=2).sum(dim=(1, 2))[:, None, None]  # of compressed ones, the square
    steps = torch.arange(count)
    spread = logs(few[:, :, :, 1:-1].std(dim=2, correction=0) / scale)
    others = [
        torch.log(whole[0].clamp(min=TINY) / own.clamp(min=TINY)).expand(channels, bands, count) / 3,
        torch.log(whole[-1].clamp(min=TINY) / whole[0].clamp(min=TINY)).expand(channels, bands, count),
        torch.full((channels, bands, count), math.log(count / 12)),
        torch.exp(-steps / 4).expand(channels, bands, count),
        torch.exp(-steps.flip(0) / 4).expand(channels, bands, count),
        (torch.arange(bands) / bands)[:, None].expand(channels, bands, count),
    ]
    flat = torch.stack(told, dim=1)[..., None].expand(channels, len(told), bands, count)
    return torch.cat([flat, spread[:, None], torch.stack(others, dim=1)], dim=1)


def logs(magnitudes: Tensor) -> Tensor:
    """Magnitudes over the scale as a network takes them."""
    return torch.log10(magnitudes + LEAST)
