"""Weights the candidates for a gap at every band and frame: a small network, trained on public audio only.

It averages the candidates and makes the mean louder or quieter within a limit, so its output stays near one of them.
"""

from functools import lru_cache
from importlib.resources import files

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional

from sottovoce.studio.editing.candidates import CANDIDATES, DEFAULT, FEATURES, Candidates, log_magnitudes

FILE = "gating.safetensors"
CHANNELS = 64
LARGEST_GAIN = 0.7
"""Natural logarithm of the factor by which the mean is made louder or quieter at most."""
INITIAL_LOGIT = 2.0
"""Logit of the default candidate before training; the other logits are 0."""


class GatingNetwork(nn.Module):
    """Sees every candidate at a band and frame and at their neighbours; attributes are named as in the weight file."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Conv2d(CANDIDATES, CHANNELS, 3)
        self.aside = nn.Conv2d(FEATURES, CHANNELS, 1, bias=False)
        self.hidden = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.said = nn.Conv2d(CHANNELS, CANDIDATES + 1, 1)
        nn.init.zeros_(self.said.weight)
        self.said.bias = nn.Parameter(INITIAL_LOGIT * functional.one_hot(torch.tensor(DEFAULT), CANDIDATES + 1))

    def forward(self, magnitudes: Tensor, features: Tensor) -> Tensor:
        """Magnitudes over the scale, `[batch, bands - 2, missing]`.

        Args:
            magnitudes: magnitudes of the candidates, `[batch, CANDIDATES, bands, missing + 2]`.
            features: `[batch, FEATURES, bands - 2, missing]`.
        """
        hidden = functional.gelu(self.near(log_magnitudes(magnitudes)) + self.aside(features))
        logits = self.said(functional.gelu(self.hidden(hidden)))
        weights = torch.softmax(logits[:, :CANDIDATES], dim=1)
        mean = (weights * magnitudes[:, :, 1:-1, 1:-1]).sum(dim=1)
        return mean * torch.exp(LARGEST_GAIN * torch.tanh(logits[:, CANDIDATES]))


def gated(model: GatingNetwork, candidates: Candidates) -> Tensor:
    """The network's estimate of a gap: magnitudes of bands, `[channels, bands, missing]`."""
    return model(padded(candidates.magnitudes), candidates.features) * candidates.scale


def padded(magnitudes: Tensor) -> Tensor:
    """Candidates `[channels, CANDIDATES, bands, frames]` with the outermost band repeated on each side."""
    return functional.pad(magnitudes, (0, 0, 1, 1), mode="replicate")


def to_bytes(model: GatingNetwork) -> bytes:
    """The weights as they are shipped, in half precision."""
    return save({name: value.detach().half().contiguous() for name, value in model.state_dict().items()})


def from_bytes(data: bytes) -> GatingNetwork:
    """Read what `to_bytes` wrote."""
    model = GatingNetwork()
    model.load_state_dict({name: value.float() for name, value in load(data).items()})
    return model.eval().requires_grad_(False)


@lru_cache(maxsize=1)
def shipped() -> GatingNetwork:
    """The network that is part of the package."""
    return from_bytes(files("sottovoce.studio.editing").joinpath(FILE).read_bytes())
