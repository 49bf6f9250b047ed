"""The style embedding of all families of generators."""

from torch import Tensor
from torch.nn import functional

STYLE = 32
"""Size of the style embedding, the only part that depends on the number of styles."""
UNSTYLED = 0.1
"""Fraction of training segments without a style, for classifier-free guidance."""


def one_hot(targets: Tensor, classes: int) -> Tensor:
    """Class indices `[batch]` one-hot encoded as `[batch, classes]`, float32."""
    return functional.one_hot(targets, classes).float()
