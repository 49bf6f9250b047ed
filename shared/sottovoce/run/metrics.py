"""Figures from a masked sum: which of them are displayed, and a classifier's figures from its confusion matrix."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

COLLAPSED_ENTROPY = 0.25
"""Entropy of the predictions, relative to that of the true classes, below which they count as collapsed, ..."""
DOMINATED = 0.8
"""... unless the largest true class has more than this share: then always predicting it is nearly right."""

DRAWS = 200
"""Number of noise draws for estimating a figure's standard deviation."""

SHOWN = {"loss": "loss", "accuracy": "accuracy", "macro_f1": "macro-F1"}
"""Displayed figures of a round, if its task has them, with their display names."""


def shown(figures: Mapping[str, Any]) -> dict[str, str]:
    """Displayed figures of a model, by display name: `{"accuracy": "0.912 ± 0.020"}`.

    ± is followed by the standard deviation of the labels' privacy noise, if known.
    """
    noise = figures.get("noise") or {}
    return {
        title: f"{figures[name]:.3f}" + (f" ± {noise[name]:.3f}" if name in noise else "")
        for name, title in SHOWN.items()
        if figures.get(name) is not None
    }


def from_confusion(matrix: ArrayLike, classes: Sequence[str]) -> dict[str, Any]:
    """Figures as plain JSON values.

    Args:
        matrix: `[C, C]` non-negative counts, true class by predicted class.
        classes: the C names.

    Returns:
        - `accuracy`, in [0, 1];
        - `macro_f1`: mean F1 over the classes that occur as truth or as prediction, which is what scikit-learn's
          `f1_score(average="macro", zero_division=0)` gives for the same tracks;
        - `per_class`: `precision`, `recall`, `f1` and `support` by name, 0 if undefined;
        - `confusion_matrix`: the matrix, as lists;
        - `predicted_class_entropy`: entropy of the predictions divided by log C: 0 if all are one class, 1 if even;
        - `collapsed`: whether nearly all predictions are one class, which accuracy hides if that class is common (see
            `COLLAPSED_ENTROPY`).

        All figures of an empty matrix are 0.

    Raises:
        ValueError: the matrix is not square, does not fit the classes, or holds a negative count.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    if counts.shape != (len(classes), len(classes)) or (counts < 0).any():
        raise ValueError(f"Expected a {len(classes)} by {len(classes)} matrix of counts >= 0, not {counts.shape}.")
    true, predicted = np.nonzero(counts)
    precision, recall, f1, support = _per_class(true, predicted, counts[true, predicted], len(classes))
    occurs = counts.sum(axis=0) + counts.sum(axis=1) > 0
    return {
        "accuracy": float(np.trace(counts)) / max(int(counts.sum()), 1),
        "macro_f1": float(f1[occurs].mean()) if occurs.any() else 0.0,
        "per_class": {
            name: {
                "precision": float(precision[index]),
                "recall": float(recall[index]),
                "f1": float(f1[index]),
                "support": int(support[index]),
            }
            for index, name in enumerate(classes)
        },
        "confusion_matrix": counts.tolist(),
        "predicted_class_entropy": _entropy(counts.sum(axis=0)) / math.log(len(classes)) if len(classes) > 1 else 0.0,
        "collapsed": _collapsed(counts),
    }


def noisy_macro_f1(cells: NDArray[np.float64], noise_std: float) -> tuple[float, float]:
    """Macro-F1 of a confusion matrix with noisy cells, and its standard deviation due to the noise.

    F1 is computed from the raw cells, including negative ones: clipping them at 0 would add false tracks to every
    class, so that with 120 tracks and 8 classes a model of 0.75 would appear as 0.52. Classes without held-out tracks
    count as 0.

    Args:
        cells: `[C, C]`, true class by predicted class, in tracks.
        noise_std: standard deviation of the noise on each cell, in tracks.

    Returns:
        The figure in [0, 1], and its standard deviation, estimated by adding further noise of this size.
    """
    draws = np.random.default_rng(0)  # not for privacy
    further = (_macro_f1(cells + noise_std * draws.standard_normal(cells.shape)) for _ in range(DRAWS))
    return _macro_f1(cells), float(np.std(list(further)))


def _macro_f1(cells: NDArray[np.float64]) -> float:
    both = cells.sum(axis=0) + cells.sum(axis=1)
    return float(np.clip(2 * np.diag(cells) / np.maximum(both, 1.0), 0.0, 1.0).mean())


def _per_class(
    true: NDArray[np.int64], predicted: NDArray[np.int64], weight: NDArray[np.int64], classes: int
) -> tuple[NDArray[np.float64], ...]:
    if not weight.size:
        return tuple(np.zeros(classes) for _ in range(4))
    from sklearn.metrics import precision_recall_fscore_support  # importing takes a second, too long for `--help`

    found: tuple[NDArray[np.float64], ...] = precision_recall_fscore_support(
        true, predicted, sample_weight=weight, labels=range(classes), zero_division=0
    )
    return found


def _collapsed(counts: NDArray[np.int64]) -> bool:
    truth = counts.sum(axis=1)
    if truth.max(initial=0) > DOMINATED * truth.sum():
        return False
    return _entropy(counts.sum(axis=0)) < COLLAPSED_ENTROPY * _entropy(truth)


def _entropy(counts: NDArray[np.int64]) -> float:
    """Shannon entropy in nats of the distribution given by counts."""
    shares = counts[counts > 0] / max(int(counts.sum()), 1)
    return float(-(shares * np.log(shares)).sum()) + 0.0  # + 0.0: never -0.0
