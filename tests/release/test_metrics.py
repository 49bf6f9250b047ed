import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from sottovoce.run.metrics import from_confusion

STYLES = ("fugue", "reel", "tango")


def tracks(matrix):
    """The (true, predicted) pairs that a matrix counts."""
    pairs = [(t, p) for t, row in enumerate(matrix) for p, count in enumerate(row) for _ in range(count)]
    return [t for t, _ in pairs], [p for _, p in pairs]


@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_the_single_tracks(seed):
    matrix = np.random.default_rng(seed).integers(0, 6, size=(3, 3))
    true, predicted = tracks(matrix.tolist())
    found = from_confusion(matrix, STYLES)
    assert found["accuracy"] == pytest.approx(accuracy_score(true, predicted))
    assert found["macro_f1"] == pytest.approx(f1_score(true, predicted, average="macro", zero_division=0))


def test_figures_of_each_class():
    found = from_confusion([[8, 2, 0], [1, 4, 0], [3, 0, 0]], STYLES)["per_class"]
    assert found["fugue"] == {
        "precision": pytest.approx(8 / 12),
        "recall": pytest.approx(8 / 10),
        "f1": pytest.approx(16 / 22),
        "support": 10,
    }
    assert found["tango"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 3}


def test_a_class_that_does_not_occur_does_not_count():
    assert from_confusion([[5, 0, 0], [0, 5, 0], [0, 0, 0]], STYLES)["macro_f1"] == 1.0


def test_a_class_that_is_only_predicted_counts_as_failed():
    found = from_confusion([[9, 0, 1], [0, 5, 0], [0, 0, 0]], STYLES)
    assert found["macro_f1"] == pytest.approx((18 / 19 + 1 + 0) / 3)


def test_of_nothing_every_figure_is_zero():
    found = from_confusion(np.zeros((3, 3), int), STYLES)
    assert (found["accuracy"], found["macro_f1"], found["collapsed"]) == (0.0, 0.0, False)


def test_entropy_is_one_when_even_and_zero_for_one_class():
    assert from_confusion(np.eye(3, dtype=int), STYLES)["predicted_class_entropy"] == pytest.approx(1)
    assert from_confusion([[1, 0, 0]] * 3, STYLES)["predicted_class_entropy"] == 0.0
    half = from_confusion([[1, 1, 0]] * 3, STYLES)["predicted_class_entropy"]
    assert half == pytest.approx(math.log(2) / math.log(3))


@pytest.mark.parametrize(
    ("matrix", "collapsed"),
    [
        ([[20, 0, 0], [20, 0, 0], [20, 0, 0]], True),
        ([[20, 0, 0], [19, 1, 0], [20, 0, 0]], True),
        ([[15, 5, 0], [10, 10, 0], [10, 10, 0]], False),  # poor, but of two minds
        ([[20, 0, 0], [0, 20, 0], [0, 0, 20]], False),
        ([[75, 0, 0], [25, 0, 0], [0, 0, 0]], True),
        ([[95, 0, 0], [5, 0, 0], [0, 0, 0]], False),  # naming the common class always is hardly wrong here
        ([[30, 0, 0], [0, 0, 0], [0, 0, 0]], False),  # there was nothing else to name
    ],
)
def test_a_collapse_is_distinguished_from_a_hard_task(matrix, collapsed):
    assert from_confusion(matrix, STYLES)["collapsed"] is collapsed


@pytest.mark.parametrize("matrix", [[[1, 2]], [[1, 2], [3, 4]], [[1, -1, 0]] * 3])
def test_what_is_no_confusion_matrix(matrix):
    with pytest.raises(ValueError, match="3 by 3"):
        from_confusion(matrix, STYLES)


def test_figures_are_plain_json_values():
    import json

    json.dumps(from_confusion(np.ones((3, 3), np.int64), STYLES), allow_nan=False)
