"""From segments to a whole track's classes."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sottovoce.audio.reject_reason import RejectReason
from sottovoce.errors import AudioError
from sottovoce.models.interfaces import Classifier

CHUNK = 256
"""Segments that go through a model at once; bounds memory whatever a track's length."""


def outputs(model: nn.Module, features: Tensor) -> Tensor:
    """A model's outputs `[segments, classes]` for features `[segments, *shape of the family's view]`."""
    with torch.inference_mode():
        parts = (model(part.to(torch.float32)) for part in torch.split(features, CHUNK))
        return torch.cat(list(parts))


def probabilities(family: Classifier, model: nn.Module, features: NDArray[np.floating]) -> NDArray[np.float32]:
    """A whole track's class probabilities `[classes]`: those of its segments, averaged.

    Args:
        family: the kind of model.
        model: with its parameters loaded.
        features: of the family's view, `[segments, *shape]`.

    Raises:
        AudioError: there is no segment.
    """
    if len(features) == 0:
        raise AudioError("The track is shorter than one segment.", reason=RejectReason.TOO_SHORT)
    found = family.probabilities(outputs(model, torch.from_numpy(features))).mean(dim=0)
    return found.numpy()
