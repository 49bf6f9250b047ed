"""Measurements of style recognition: the confusion matrix of whole-track predictions, and the loss."""

import math
from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sottovoce.models.held_out_counts import CountedFigure
from sottovoce.models.interfaces import Batch, Classifier, Family, Task
from sottovoce.models.style import _prediction as prediction

LOSS = CountedFigure(least=0.0, most=4.0, reach=250)
"""Counting of a track's loss."""
CORRECT, TRACKS, PAIR = 700, 550, 350
"""Weights of a track's contributions to the counters: recognised or not (+ or -), the number of tracks, and its cell of
the confusion matrix. A larger weight relative to the others means less noise in that figure."""


class StyleTask(Task):
    """Counts (true, predicted) pairs over whole tracks: a track's prediction is the mean over its segments."""

    name = "style"

    def counters(self, classes: int) -> tuple[str, ...]:
        """Recognised minus unrecognised tracks, tracks, the confusion matrix row by row (true, predicted), the loss."""
        pairs = (f"confusion/{true}/{predicted}" for true in range(classes) for predicted in range(classes))
        return ("correct", "tracks", *pairs, "loss")

    def norm_squared(self, classes: int) -> int:
        """A track contributes to `correct`, `tracks`, one pair and the loss."""
        del classes
        return CORRECT**2 + TRACKS**2 + PAIR**2 + LOSS.reach**2

    def measure(self, family: Family, model: nn.Module, batch: Batch, classes: int) -> NDArray[np.int64]:
        """Counters of a batch, `[classes² + 3]`. A track's loss is the mean over its segments."""
        family = cast(Classifier, family)  # all families of this task are classifiers
        outputs = prediction.outputs(model, batch.features[batch.mask])
        track = batch.mask.nonzero()[:, 0]
        segments = batch.mask.sum(dim=1)
        predicted = _track_mean(family.probabilities(outputs), track, segments).argmax(dim=1)
        losses = _track_mean(family.loss(outputs, batch.targets[track])[:, None], track, segments)[:, 0]
        right = int((predicted == batch.targets).sum())
        pairs = torch.bincount(batch.targets * classes + predicted, minlength=classes**2)
        counted = np.empty(classes**2 + 3, dtype=np.int64)
        counted[0] = CORRECT * (2 * right - len(predicted))
        counted[1] = TRACKS * len(predicted)
        counted[2:-1] = PAIR * pairs.numpy()
        counted[-1] = int(LOSS.steps_of(losses).sum())
        return counted

    def metrics(
        self, sums: NDArray[np.int64], classes: tuple[str, ...], noise_std: float = 0.0
    ) -> Mapping[str, object]:
        """Figures of `sottovoce.run.metrics.from_confusion`, with `tracks` and their mean `loss`.

        Accuracy has its own counter, with less noise than the confusion matrix, whose negative entries are set to 0
        except for `macro_f1`. `noise` gives the standard deviation of each figure, if known.
        """
        from sottovoce.run.metrics import from_confusion, noisy_macro_f1

        cells = (sums[2:-1] / PAIR).reshape(len(classes), len(classes))
        confusion = np.maximum(np.round(cells), 0).astype(np.int64)
        tracks = max(float(sums[1]) / TRACKS, 0.0)
        lead = float(np.clip(sums[0] / CORRECT / max(tracks, 1.0), -1, 1))
        figures = from_confusion(confusion, classes)
        figures["accuracy"] = (lead + 1) / 2 if tracks else 0.0
        found = {"tracks": round(tracks), "loss": float(LOSS.mean(sums[-1], tracks)), **figures}
        if noise_std:
            found["macro_f1"], of_macro_f1 = noisy_macro_f1(cells, noise_std / PAIR)
            of_lead = math.hypot(1 / CORRECT, lead / TRACKS) * noise_std / max(tracks, 1.0)
            found["noise"] = {
                "accuracy": of_lead / 2,
                "loss": LOSS.deviation(noise_std, tracks),
                "macro_f1": of_macro_f1,
                "confusion_matrix": noise_std / PAIR,
                "tracks": noise_std / TRACKS,
            }
        return found


def _track_mean(values: Tensor, track: Tensor, segments: Tensor) -> Tensor:
    """Mean `[tracks, k]` of the segments' values `[segments, k]`."""
    return torch.zeros(len(segments), values.shape[1]).index_add_(0, track, values) / segments[:, None]


TASK = StyleTask()
