"""Inputs of an editor network, and how its output is applied to the spectrogram."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

CONDITIONS = 5
"""Number of rows of `Observed.conditions`."""
MAPS = 4
"""Number of a network's output maps: for gaps, a shift of the interpolation weight and a correction; for noise, its
level and a correction."""
FAR = 32
"""Distance, in frames, at which the distance to the nearest known frame saturates."""
NEAR = 3
"""Distance in frames from the nearest known frame at which half of a network's correction in a gap applies."""
EXPANSION, STEEPNESS, UNHEARD = 2.0, 3.0, 6.0
_LEAST_WEIGHT = 0.02


@dataclass(frozen=True)
class Observed:
    """A spectrogram without its missing frames; nothing in it depends on their content.

    Args:
        left: known frames; for a missing frame, the last known frame before it (or else the first after it), `[batch,
            bands, frames]`.
        right: likewise with the first known frame after it (or else the last before it).
        weight: relative position of a missing frame between its left and its right, 0 to 1, `[batch, frames]`.
        distance: distance of each frame to the nearest known one, in frames, `[batch, frames]`.
        missing: True for missing frames, bool, `[batch, frames]`.
        noisy: whether there is noise to remove, bool, `[batch]`.
        conditions: inputs of a network besides the frames, `[batch, CONDITIONS, frames]`: missing, noisy, weight, and
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
        """Missing frames linearly interpolated (in dB) between their known neighbours, `[batch, bands, frames]`."""
        return torch.lerp(self.left, self.right, self.weight[:, None])


def observe(values: Tensor, missing: Tensor, noisy: Tensor) -> Observed:
    """The observed part of spectrograms `[batch, bands, frames]`; `missing` `[batch, frames]`, `noisy` `[batch]`.

    If every frame is missing, all are set to 0, the mean of all music.
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
    conditions = [
        missing.float(),
        noisy[:, None].expand_as(missing).float(),
        weight,
        *(each / FAR for each in distances),
    ]
    return Observed(left, right, weight, torch.minimum(*distances), missing, noisy, torch.stack(conditions, dim=1))


def restored(observed: Observed, maps: Tensor) -> Tensor:
    """Apply a network's output `[batch, MAPS, bands, frames]`: restored spectrograms `[batch, bands, frames]`.

    Known frames without noise stay unchanged. All-zero maps mean linear interpolation, the network's starting point.
    Values below the noise level are attenuated (a downward expander).
    """
    lean, add, level, change = maps.unbind(dim=1)
    missing, noisy = observed.missing[:, None], observed.noisy[:, None, None]
    bounded = observed.weight.clamp(_LEAST_WEIGHT, 1 - _LEAST_WEIGHT)[:, None]
    weight = torch.sigmoid(torch.logit(bounded) + lean)
    far = (observed.distance / (observed.distance + NEAR))[:, None]
    found = torch.where(missing, torch.lerp(observed.left, observed.right, weight) + far * add, observed.left)
    pushed = EXPANSION * functional.softplus(STEEPNESS * level - UNHEARD - found)
    return torch.where(noisy, found + change - pushed, found)
