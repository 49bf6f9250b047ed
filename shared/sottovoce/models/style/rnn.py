"""`rnn`: a recurrent network on log-mel segments, after convolutional layers."""

import torch
from opacus.layers import DPGRU
from torch import Tensor, nn

from sottovoce.features.spec import FeatureSpec
from sottovoce.models.style.cnn import Cnn, strided

CHANNELS = (16, 16)
HIDDEN = 32


class Recurrent(nn.Module):
    """Two strided convolutions, a GRU along time, the mean of its states, then a linear map."""

    def __init__(self, n_mels: int, classes: int) -> None:
        super().__init__()
        first, second = CHANNELS
        self.front = nn.Sequential(strided(1, first, kernel=5, stride=4), strided(first, second, 3, 2))
        bands = self.front(torch.zeros(1, 1, n_mels, n_mels)).shape[2]
        self.gru = DPGRU(second * bands, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, classes)
        nn.init.zeros_(self.head.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Scores `[batch, classes]` of log-mel segments `[batch, n_mels, frames]`."""
        maps = self.front(features[:, None])
        states, _ = self.gru(maps.flatten(1, 2).transpose(1, 2))
        return self.head(states.mean(dim=1))


class Rnn(Cnn):
    """A recurrent network; otherwise like `cnn`."""

    name = "rnn"

    def build(self, spec: FeatureSpec, classes: int) -> nn.Module:
        """The network for segments `[n_mels, frames]`, for any number of frames."""
        return Recurrent(spec.n_mels, classes)


FAMILY = Rnn()
