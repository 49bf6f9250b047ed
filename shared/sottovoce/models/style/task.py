"""What style recognition measures: the confusion of whole-track predictions, and the loss."""

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sottovoce.models.held_out_counts import CountedFigure
from sottovoce.models.interfaces import Batch, Classifier, Family, Task
from sottovoce.models.style import _prediction as prediction

LOSS = CountedFigure(least=0.0, most=20.0, step=1e-4)
"""A track's loss."""


class StyleTask(Task):
    """Counts (true, predicted) pairs over whole tracks: a track's prediction is the mean over its segments."""

    name = "style"

    def counters(self, classes: int) -> tuple[str, ...]:
        """The confusion matrix, row by row (true, then predicted class), and the summed loss in steps of `LOSS`."""
        pairs = (f"confusion/{true}/{predicted}" for true in range(classes) for predicted in range(classes))
        return (*pairs, "loss")

    def measure(self, family: Family, model: nn.Module, batch: Batch, classes: int) -> NDArray[np.int64]:
        """Counters of a batch, `[classes² + 1]`. A track's loss is the mean over its segments."""
        family = cast(Classifier, family)  # as all of this task's are
        outputs = prediction.outputs(model, batch.features[batch.mask])
        track = batch.mask.nonzero()[:, 0]
        segments = batch.mask.sum(dim=1)
        probabilities = _track_mean(family.probabilities(outputs), track, segments)
        losses = _track_mean(family.loss(outputs, batch.targets[track])[:, None], track, segments)[:, 0]
        counted = np.zeros(classes**2 + 1, dtype=np.int64)
        pairs = batch.targets * classes + probabilities.argmax(dim=1)
        counted[:-1] = torch.bincount(pairs, minlength=classes**2).numpy()
        counted[-1] = int(LOSS.steps_of(losses).sum())
        return counted

    def metrics(self, sums: NDArray[np.int64], classes: tuple[str, ...]) -> Mapping[str, object]:
        """Figures of `sottovoce.run.metrics.from_confusion`, with `tracks` and their mean `loss`."""
        from sottovoce.run.metrics import from_confusion

        confusion = sums[:-1].reshape(len(classes), len(classes))
        tracks = int(confusion.sum())
        loss = float(LOSS.mean(sums[-1], tracks))
        return {"tracks": tracks, "loss": loss, **from_confusion(confusion, classes)}


def _track_mean(values: Tensor, track: Tensor, segments: Tensor) -> Tensor:
    """Mean `[tracks, k]` of the segments' values `[segments, k]`."""
    return torch.zeros(len(segments), values.shape[1]).index_add_(0, track, values) / segments[:, None]


TASK = StyleTask()
