"""Measurements on held-out tracks during training of generators: the family's loss, by style."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sottovoce.models.held_out_counts import CountedFigure, by_style
from sottovoce.models.interfaces import Batch, Family, Task

LOSS = CountedFigure(least=-2.0, most=10.0, reach=900)
"""Counting of a track's loss. A density may exceed 1, so a loss may be negative."""
TRACKS = 400
"""Weight of a track in the number of tracks of its style."""
_SEED = 1


class GeneratorTask(Task):
    """Sums tracks and losses per style; a track's loss is the mean over its segments, in the family's own unit.

    For `rnn` that is nats per number of the codec. Losses can be compared within a family, not between families.
    """

    name = "generator"

    def counters(self, classes: int) -> tuple[str, ...]:
        """Held-out tracks of each style, then their summed loss in steps of `LOSS`."""
        numbers = range(classes)
        return (*(f"tracks/{number}" for number in numbers), *(f"loss/{number}" for number in numbers))

    def norm_squared(self, classes: int) -> int:
        """A track contributes to the count and the loss of one style."""
        del classes
        return TRACKS**2 + LOSS.reach**2

    def measure(self, family: Family, model: nn.Module, batch: Batch, classes: int) -> NDArray[np.int64]:
        """Counters of a batch, `[2 · classes]`. Random draws are fixed, so that models can be compared."""
        segments = batch.mask.sum(dim=1)
        track = batch.mask.nonzero()[:, 0]
        generator = torch.Generator().manual_seed(_SEED)
        with torch.no_grad():
            losses = family.losses(model, batch.features[batch.mask], batch.targets[track], generator)
        of_track = torch.zeros(len(segments), dtype=torch.float64).index_add_(0, track, LOSS.bounded(losses)) / segments
        counted = torch.zeros(2, classes, dtype=torch.int64)
        counted[0].index_add_(0, batch.targets, torch.full_like(batch.targets, TRACKS))
        counted[1].index_add_(0, batch.targets, LOSS.steps_of(of_track))
        return counted.flatten().numpy()

    def metrics(
        self, sums: NDArray[np.int64], classes: tuple[str, ...], noise_std: float = 0.0
    ) -> Mapping[str, object]:
        """`tracks`, their mean `loss`, and `loss_by_style`; None for a style that no label holds out."""
        weighted, losses = sums.reshape(2, len(classes)).astype(np.float64)
        return by_style(weighted / TRACKS, losses, LOSS, classes, noise_std, TRACKS)


TASK = GeneratorTask()
