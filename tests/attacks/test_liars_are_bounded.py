"""Promise: one liar moves a round's mean no further than all labels together could, and never unseen.

The attack: the bound was on the mean, which was shortened to it in silence. A liar that used the ring's headroom, which
is there for the others' vectors, had the mean point wherever it liked: cosine 1.00 among 50 labels.
"""

import numpy as np
import pytest

from sottovoce.protocol.layout import VectorLayout
from sottovoce.protocol.quantise import norm_of
from sottovoce.protocol.violations import ImplausibleSum
from sottovoce.run.configuration import RING_BITS

LABELS, PARAMETERS = 50, 3000
NONE = np.empty(0, np.int64)


def directions(count: int, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(count, PARAMETERS))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.fixture(params=RING_BITS)
def layout(request):
    return VectorLayout(PARAMETERS, 0, request.param, LABELS, 1.0)


@pytest.fixture
def honest(layout):
    vectors = (layout.encode(each.astype(np.float32), NONE) for each in directions(LABELS - 1, seed=0))
    return sum(vectors, layout.ring.zeros(layout.elements))


def with_lie(layout, honest, steps: float) -> np.ndarray:
    """The sum with a liar's vector, whose largest coordinate is this number of grid steps from zero."""
    (wanted,) = directions(1, seed=1)
    lie = layout.encode(np.zeros(PARAMETERS, np.float32), NONE)
    lie[:PARAMETERS] += (wanted / np.abs(wanted).max() * steps).astype(np.int64).astype(lie.dtype)
    return honest + lie


def test_a_liar_with_the_rings_headroom_aborts_the_round(layout, honest):
    with pytest.raises(ImplausibleSum, match="some label lied"):
        layout.decode(with_lie(layout, honest, 20 * layout.quantiser.top), LABELS)


@pytest.mark.parametrize("share", [0.5, 1, 2, 5, 10, 20, 40])
def test_no_lie_moves_the_mean_beyond_what_all_labels_could(layout, honest, share):
    """Up to there it can, and turns a mean to itself: masks hide who it was. docs/security.md says so."""
    try:
        update = layout.decode(with_lie(layout, honest, share * layout.quantiser.top), LABELS).update
    except ImplausibleSum:
        assert share > 1
    else:
        assert norm_of(update) <= layout.longest_mean
