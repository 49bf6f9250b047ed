"""From segment outputs to a whole track's class probabilities."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sottovoce.audio.reject_reason import RejectReason
from sottovoce.errors import AudioError
from sottovoce.models.interfaces import Classifier

CHUNK = 256
"""Number of segments per forward pass; bounds memory for tracks of any length."""


def outputs(model: nn.Module, features: Tensor) -> Tensor:
    """A model's outputs `[segments, classes]` for features `[segments, *shape of the family's view]`."""
    with torch.inference_mode():
        parts = (model(part.to(torch.float32)) for part in torch.split(features, CHUNK))
        return torch.cat(list(parts))


def by_segment(family: Classifier, model: nn.Module, features: NDArray[np.floating]) -> Tensor:
    """Class probabilities of each segment of a track, `[segments, classes]`.

    Args:
        family: the model's family.
        model: with its parameters loaded.
        features: in the family's view, `[segments, *shape]`.

    Raises:
        AudioError: there are no segments.
    """
    if len(features) == 0:
        raise AudioError("The track is shorter than one segment.", reason=RejectReason.TOO_SHORT)
    return family.probabilities(outputs(model, torch.from_numpy(features)))


def probabilities(family: Classifier, model: nn.Module, features: NDArray[np.floating]) -> NDArray[np.float32]:
    """A whole track's class probabilities, `[classes]`: the mean over its segments; see `by_segment`."""
    return by_segment(family, model, features).mean(dim=0).numpy()
