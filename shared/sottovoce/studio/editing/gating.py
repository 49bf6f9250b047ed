"""Which guess to believe at every band and frame of a gap: a small network that learned on public audio only.

It weighs the guesses and makes their mean louder or softer: whatever it says is near to one of them.
"""

from functools import lru_cache
from importlib.resources import files

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional

from sottovoce.studio.editing.candidates import ASIDE, GUESSES, RULE, Evidence, logs

FILE = "gating.safetensors"
CHANNELS = 64
LOUDEST = 0.7
"""By how much the mean is made louder or softer at most: the logarithm of a factor."""
TRUST = 2.0
"""In the rule, before anything is learned: the logarithm of its weight over another's."""


class Mixture(nn.Module):
    """Sees all guesses at a band and frame and beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Conv2d(GUESSES, CHANNELS, 3)
        self.aside = nn.Conv2d(ASIDE, CHANNELS, 1, bias=False)
        self.hidden = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.said = nn.Conv2d(CHANNELS, GUESSES + 1, 1)
        nn.init.zeros_(self.said.weight)
        self.said.bias = nn.Parameter(TRUST * functional.one_hot(torch.tensor(RULE), GUESSES + 1))

    def forward(self, guesses: Tensor, aside: Tensor) -> Tensor:
        """Magnitudes over the scale, `[batch, bands - 2, missing]`.

        Args:
            guesses: `[batch, GUESSES, bands, missing + 2]`.
            aside: `[batch, ASIDE, bands - 2, missing]`.
        """
        hidden = functional.gelu(self.near(logs(guesses)) + self.aside(aside))
        said = self.said(functional.gelu(self.hidden(hidden)))
        weights = torch.softmax(said[:, :GUESSES], dim=1)
        found = (weights * guesses[:, :, 1:-1, 1:-1]).sum(dim=1)
        return found * torch.exp(LOUDEST * torch.tanh(said[:, GUESSES]))


def mixed(model: Mixture, known: Evidence) -> Tensor:
    """Magnitudes of bands, `[channels, bands, missing]`."""
    return model(padded(known.guesses), known.aside) * known.scale


def padded(guesses: Tensor) -> Tensor:
    """Guesses `[channels, GUESSES, bands, frames]` with a band more on each side."""
    return functional.pad(guesses, (0, 0, 1, 1), mode="replicate")


def to_bytes(model: Mixture) -> bytes:
    """As it is shipped: in half precision."""
    return save({name: value.detach().half().contiguous() for name, value in model.state_dict().items()})


def from_bytes(data: bytes) -> Mixture:
    """The way back."""
    model = Mixture()
    model.load_state_dict({name: value.float() for name, value in load(data).items()})
    return model.eval().requires_grad_(False)


@lru_cache(maxsize=1)
def shipped() -> Mixture:
    """What comes with the package."""
    return from_bytes(files("sottovoce.studio.editing").joinpath(FILE).read_bytes())
