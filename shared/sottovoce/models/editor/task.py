"""Measurements on held-out tracks during training of editors: the family's loss, and errors compared with baselines."""

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sottovoce.models.editor._conditioning import observe
from sottovoce.models.editor._family import Network
from sottovoce.models.editor._noise import with_noise
from sottovoce.models.held_out_counts import CountedFigure, by_style
from sottovoce.models.interfaces import Batch, Editor, Family, Task

LOSS = CountedFigure(least=0.0, most=10.0, reach=500)
"""Counting of a track's loss."""
ERROR = CountedFigure(least=0.0, most=20.0, reach=375)
"""Counting of a track's errors, in dB."""
TRACKS = 400
"""Weight of a track in the number of tracks of its style."""
GAP = 13
"""Length of the test gap, frames (200 ms)."""
ERRORS = ("repair_error", "interpolation_error", "denoise_error", "noise_error")
"""Mean errors in dB: a gap repaired by the model and by interpolation; noisy music after and before denoising."""
_SEED = 1


class EditorTask(Task):
    """Sums tracks and losses per style, and errors in dB over all styles. A track counts by its segments' mean."""

    name = "editor"

    def counters(self, classes: int) -> tuple[str, ...]:
        """Held-out tracks of each style, their summed loss and the four errors, in steps of `LOSS` and `ERROR`."""
        numbers = range(classes)
        return (*(f"tracks/{number}" for number in numbers), *(f"loss/{number}" for number in numbers), *ERRORS)

    def norm_squared(self, classes: int) -> int:
        """A track contributes to the count and the loss of one style, and to the four errors."""
        del classes
        return TRACKS**2 + LOSS.reach**2 + len(ERRORS) * ERROR.reach**2

    def measure(self, family: Family, model: nn.Module, batch: Batch, classes: int) -> NDArray[np.int64]:
        """Counters of a batch, `[2 · classes + 4]`. Random draws are fixed, so that models can be compared."""
        segments, track = batch.mask.sum(dim=1), batch.mask.nonzero()[:, 0]
        features = batch.features[batch.mask]
        with torch.no_grad():
            generator = torch.Generator().manual_seed(_SEED)
            losses = family.losses(model, features, batch.targets[track], generator)[:, None]
            errors = _errors(cast(Editor, family), model, features)
        bounded = torch.cat([LOSS.bounded(losses), ERROR.bounded(errors)], dim=1)
        of_track = torch.zeros(len(segments), bounded.shape[1], dtype=torch.float64).index_add_(0, track, bounded)
        of_track = of_track / segments[:, None]
        counted = torch.zeros(2, classes, dtype=torch.int64)
        counted[0].index_add_(0, batch.targets, torch.full_like(batch.targets, TRACKS))
        counted[1].index_add_(0, batch.targets, LOSS.steps_of(of_track[:, 0]))
        whole = ERROR.steps_of(of_track[:, 1:]).sum(dim=0)
        return torch.cat([counted.flatten(), whole]).numpy()

    def metrics(
        self, sums: NDArray[np.int64], classes: tuple[str, ...], noise_std: float = 0.0
    ) -> Mapping[str, object]:
        """`tracks`, their mean `loss`, `loss_by_style` (None for a style that no label holds out), and `ERRORS`."""
        weighted, losses = sums[: 2 * len(classes)].reshape(2, len(classes)).astype(np.float64)
        figures = by_style(weighted / TRACKS, losses, LOSS, classes, noise_std, TRACKS)
        errors = ERROR.mean(sums[2 * len(classes) :], figures["tracks"])
        if noise_std:
            figures["noise"] |= dict.fromkeys(ERRORS, ERROR.deviation(noise_std, figures["tracks"]))
        return {**figures, **{name: float(error) for name, error in zip(ERRORS, errors, strict=True)}}


def _errors(family: Editor, model: nn.Module, features: Tensor) -> Tensor:
    """`ERRORS` of each segment, `[segments, 4]`: with a gap in its middle, and with noise."""
    levels = cast(Network, model).levels
    count, _, frames = features.shape
    places = torch.arange(frames)
    begin = max(0, (frames - GAP) // 2)
    missing = ((places >= begin) & (places < begin + GAP)).expand(count, frames)
    clean = torch.zeros(count, dtype=torch.bool)
    repaired = family.restore(model, features, missing, clean)
    interpolated = observe(features, missing, clean).interpolated
    noisy, denoised_target = with_noise(levels, features, torch.Generator().manual_seed(_SEED))
    denoised = family.restore(model, noisy, torch.zeros_like(missing), ~clean)
    gap = missing[0]
    differences = (
        (repaired - features)[:, :, gap],
        (interpolated - features)[:, :, gap],
        denoised - denoised_target,
        noisy - denoised_target,
    )
    return torch.stack([(part.abs() * levels.std[:, None]).mean(dim=(1, 2)) for part in differences], dim=1)


TASK = EditorTask()
