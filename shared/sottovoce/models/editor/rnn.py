"""`rnn`: a bidirectional recurrent network over the frames."""

import torch
from opacus.layers import DPGRU
from torch import Tensor, nn

from sottovoce.features.spec import FeatureSpec
from sottovoce.models.editor._conditioning import CONDITIONS, MAPS
from sottovoce.models.editor._family import SpectralEditor, faint
from sottovoce.models.editor._noise import Levels

BAND_CODE, HIDDEN, BASIS = 48, 64, 32


class Recurrent(nn.Module):
    """A bidirectional GRU over embeddings of the observed frames; its maps are combinations of learned spectra."""

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.levels = Levels.of(spec)
        self.encode = nn.Linear(spec.n_mels, BAND_CODE)
        self.gru = DPGRU(2 * BAND_CODE + CONDITIONS, HIDDEN, batch_first=True, bidirectional=True)
        self.coefficients = nn.Linear(2 * HIDDEN, MAPS * BASIS)
        self.spectra = nn.ModuleList(faint(nn.Linear(BASIS, spec.n_mels)) for _ in range(MAPS))

    def forward(self, left: Tensor, right: Tensor, conditions: Tensor) -> Tensor:
        """Maps `[batch, MAPS, bands, frames]`."""
        codes = torch.tanh(self.encode(torch.stack([left, right], dim=1).transpose(2, 3)))
        known = torch.cat([codes[:, 0], codes[:, 1], conditions.transpose(1, 2)], dim=2)
        states, _ = self.gru(known)
        parts = torch.tanh(self.coefficients(states)).chunk(MAPS, dim=2)
        maps = [layer(part) for layer, part in zip(self.spectra, parts, strict=True)]
        return torch.stack(maps, dim=1).transpose(2, 3)


class Rnn(SpectralEditor):
    """Editor with a recurrent network, for any number of frames and bands."""

    name = "rnn"
    learning_rate = 0.05

    def build(self, spec: FeatureSpec, classes: int) -> nn.Module:
        """The network for spectrograms of `n_mels` bands, independent of the number of styles."""
        del classes
        return Recurrent(spec)


FAMILY = Rnn()
