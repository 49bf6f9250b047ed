"""Everything that a label's update in one round is computed from, as one value."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from sottovoce.errors import ConfigurationError
from sottovoce.models import parameters as flat
from sottovoce.models.interfaces import Family
from sottovoce.privacy.plan import PrivacyPlan
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import RunConfiguration
from sottovoce_client.data.dataset import TrackDataset


@dataclass(frozen=True)
class RoundInputs:
    """The inputs of one training round at one label.

    Args:
        family: the model family.
        parameters: the global model's parameters, float32 `[P]`.
        dataset: training tracks in the family's view; its units are those of `config.unit`.
        config: the run's configuration.
        plan: the label's privacy plan; None in a run without privacy.
        randomness: source of sampling, augmentation, rounding and noise.
        histogram: units of each class, `[classes]`, noisy in a private run; None unless the run balances classes.
        number: the round's number, from 1.
        clip: L2 bound on one unit's vector in this round; None for `config.max_grad_norm`.

    Raises:
        ConfigurationError: a value is out of range.
    """

    family: Family
    parameters: NDArray[np.float32]
    dataset: TrackDataset
    config: RunConfiguration
    plan: PrivacyPlan | None
    randomness: Randomness
    histogram: NDArray[np.float64] | None = None
    number: int = 1
    clip: float | None = None

    def __post_init__(self) -> None:
        if self.parameters.ndim != 1:
            raise ConfigurationError(f"Expected one vector of parameters, got shape {self.parameters.shape}.")
        if self.number < 1:
            raise ConfigurationError(f"Expected round {self.number} to be at least 1.")
        if self.clip is not None and not self.clip > 0:
            raise ConfigurationError(f"Expected clip={self.clip} > 0.")

    @property
    def clip_norm(self) -> float:
        """L2 bound on one unit's vector."""
        return self.config.max_grad_norm if self.clip is None else self.clip

    def model(self) -> nn.Module:
        """A new model with the global parameters.

        Raises:
            ConfigurationError: the parameters do not fit the model.
        """
        return flat.model_of(self.family, self.dataset.spec, len(self.config.classes), self.parameters)
