"""What an editor is given of a spectrogram, and how what it says becomes a whole and clean one."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

CONDITIONS = 5
"""Rows of `Observed.conditions`."""
MAPS = 4
"""What a network says of each number: of a gap, how far to lean to what follows it and what to add; of noise, its level
and what to add."""
FAR = 32
"""Frames; how far the nearest known frame is, is told in these, and not beyond."""
NEAR = 3
"""Frames from the nearest known one at which half of what a network adds in a gap counts: less so at its ends."""
EXPANSION, STEEPNESS, UNHEARD = 2.0, 3.0, 6.0
_LEAST_WEIGHT = 0.02


@dataclass(frozen=True)
class Observed:
    """A spectrogram without its missing frames: nothing in it depends on what they held.

    Args:
        left: each known frame, and in place of a missing one the last known before it (or else after it),
            `[batch, bands, frames]`.
        right: the same with the first known after it (or else before it).
        weight: how far a missing frame is from its left to its right, 0 to 1, `[batch, frames]`.
        distance: of each frame to the nearest known one, in frames, `[batch, frames]`.
        missing: which frames are, bool, `[batch, frames]`.
        noisy: whether there is noise to take off, bool, `[batch]`.
        conditions: what a network is told beside the frames, `[batch, CONDITIONS, frames]`: missing, noisy, weight, and
            the distances to both sides.
    """

    left: Tensor
    right: Tensor
    weight: Tensor
    distance: Tensor
    missing: Tensor
    noisy: Tensor
    conditions: Tensor

    @property
    def interpolated(self) -> Tensor:
        """Missing frames on a straight line (in dB) between those beside them, `[batch, bands, frames]`."""
        return torch.lerp(self.left, self.right, self.weight[:, None])


def observe(values: Tensor, missing: Tensor, noisy: Tensor) -> Observed:
    """What is known of spectrograms `[batch, bands, frames]`; `missing` `[batch, frames]`, `noisy` `[batch]`.

    Where every frame is missing, all are taken for 0, which is the mean of all music.
    """
    frames = values.shape[2]
    places = torch.arange(frames).expand_as(missing)
    before = torch.where(missing, -1, places).cummax(dim=1).values
    after = torch.where(missing, frames, places).flip(1).cummin(dim=1).values.flip(1)
    none_before, none_after = before < 0, after >= frames
    nothing = none_before & none_after
    left_at = torch.where(none_before, after, before).clamp(max=frames - 1)
    right_at = torch.where(none_after, before, after).clamp(min=0)
    left, right = (
        values.gather(2, at[:, None].expand_as(values)).masked_fill(nothing[:, None], 0.0) for at in (left_at, right_at)
    )
    weight = (places - before) / (after - before).clamp(min=1)
    weight = torch.where(none_before, 1.0, torch.where(none_after, 0.0, weight)) * missing
    distances = [
        torch.where(none, FAR, (places - at).abs()).clamp(max=FAR).float()
        for none, at in ((none_before, before), (none_after, after))
    ]
    told = [missing.float(), noisy[:, None].expand_as(missing).float(), weight, *(each / FAR for each in distances)]
    return Observed(left, right, weight, torch.minimum(*distances), missing, noisy, torch.stack(told, dim=1))


def restored(observed: Observed, maps: Tensor) -> Tensor:
    """Whole and clean spectrograms `[batch, bands, frames]`, from what a network says, `[batch, MAPS, bands, frames]`.

    Known frames without noise stay as they are. If the maps are 0, missing frames are interpolated, so that a network
    starts there. What lies below the level of noise is pushed down (a downward expander, as mixing desks have them).
    """
    lean, add, level, change = maps.unbind(dim=1)
    missing, noisy = observed.missing[:, None], observed.noisy[:, None, None]
    bounded = observed.weight.clamp(_LEAST_WEIGHT, 1 - _LEAST_WEIGHT)[:, None]
    weight = torch.sigmoid(torch.logit(bounded) + lean)
    far = (observed.distance / (observed.distance + NEAR))[:, None]
    found = torch.where(missing, torch.lerp(observed.left, observed.right, weight) + far * add, observed.left)
    pushed = EXPANSION * functional.softplus(STEEPNESS * level - UNHEARD - found)
    return torch.where(noisy, found + change - pushed, found)
