"""What a style is to every family of generators."""

from torch import Tensor
from torch.nn import functional

STYLE = 32
"""Numbers that a style is to a network: all that depends on how many there are."""
UNSTYLED = 0.1
"""In training, the share of segments of whose style a network is not told."""


def one_hot(targets: Tensor, classes: int) -> Tensor:
    """Class numbers `[batch]` as `[batch, classes]`, float32."""
    return functional.one_hot(targets, classes).float()
