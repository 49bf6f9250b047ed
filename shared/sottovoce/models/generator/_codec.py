"""A small codec: groups of spectral frames to whole numbers, and back.

Its constants were learned from public audio and come with the package, so that what a model learns in private is only
which numbers follow one another, and a large decoder costs no privacy. Each number is a principal component of a group,
rounded, so that near numbers sound alike. A network corrects what rounding and the lost components took. It sees
neighbouring groups and learned from numbers of which some were wrong, so that it takes off what does not fit.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional

from sottovoce.errors import ConfigurationError
from sottovoce.features.normalisation import CLIP
from sottovoce.features.spec import FeatureSpec
from sottovoce.models.generator._outline import Outline

VERSION = 3
"""Raised whenever the same numbers would sound different: a model of another codec's numbers is then refused."""
FILE = f"codec-{VERSION}.safetensors"
CODED = f"codec{VERSION}"
"""In parameters' names: those trained on another codec's numbers, which mean something else, do not fit."""
GROUP = 4
"""Frames that are coded together: 93 ms."""
BANDS = 256
NUMBERS = 64
"""Whole numbers of each group, the most telling ones first."""
HALF = 7
LEVELS = 2 * HALF + 1
"""That a number has."""
WIDEST = 3.0
"""Deviations that the outermost levels stand for, at least."""
STEP = WIDEST / HALF
"""From what stands for one level to the next, to networks."""
CHANNELS, FINE = 256, 128
"""Of the networks, where a step is a group and where it is a frame."""
DILATIONS = (1, 1, 2, 4)
"""Of the residual blocks' convolutions, in groups."""
CONTEXT = 2 + sum(DILATIONS)
"""Groups on either side that a decoded group depends on, at most."""


class Residual(nn.Module):
    """Two convolutions over time beside the way straight through, `[batch, channels, steps]`.

    Args:
        channels: of what goes through.
        dilation: steps from one tap of the first convolution to the next.
        causal: whether a step sees none after it.
    """

    def __init__(self, channels: int, dilation: int = 1, *, causal: bool = False) -> None:
        super().__init__()
        self.beside = (2 * dilation, 0) if causal else (dilation, dilation)
        self.norm = nn.LayerNorm(channels)
        self.wide = nn.Conv1d(channels, channels, 3, dilation=dilation)
        self.narrow = nn.Conv1d(channels, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """The same shape."""
        normed = functional.gelu(self.norm(maps.transpose(1, 2)).transpose(1, 2))
        return maps + self.narrow(functional.gelu(self.wide(functional.pad(normed, self.beside))))


class Corrector(nn.Module):
    """What is added to the sum of components. Convolutions over time; a band is a channel, so pitches are absolute."""

    def __init__(self) -> None:
        super().__init__()
        self.told = nn.Conv1d(NUMBERS, CHANNELS, 3, padding=1)
        self.groups = nn.Sequential(*[Residual(CHANNELS, dilation) for dilation in DILATIONS])
        self.frames = nn.Linear(CHANNELS, GROUP * FINE)
        self.smooth = nn.Conv1d(FINE, FINE, 3, padding=1)
        self.bands = nn.Linear(FINE, BANDS)
        nn.init.zeros_(self.bands.weight)
        nn.init.zeros_(self.bands.bias)

    def forward(self, values: Tensor) -> Tensor:
        """`[batch, BANDS, GROUP · steps]` for `values` of numbers, `[batch, steps, NUMBERS]`."""
        hidden = self.groups(self.told(values.transpose(1, 2))).transpose(1, 2)
        frames = self.frames(hidden).reshape(len(hidden), -1, FINE)
        frames = frames + functional.gelu(self.smooth(functional.gelu(frames).transpose(1, 2)).transpose(1, 2))
        return self.bands(functional.gelu(frames)).transpose(1, 2)


@dataclass(frozen=True)
class Components:
    """Principal components of groups, and how they are rounded.

    Args:
        mean: of groups, `[GROUP · BANDS]`.
        basis: orthonormal, `[GROUP · BANDS, NUMBERS]`.
        step: of each component from one level to the next, `[NUMBERS]`.
    """

    mean: Tensor
    basis: Tensor
    step: Tensor

    def measure(self, features: Tensor) -> Tensor:
        """Components `[batch, steps, NUMBERS]`, in steps from the mean, of spectrograms `[batch, BANDS, frames]`."""
        return ((grouped(features) - self.mean) @ self.basis) / self.step

    def encode(self, features: Tensor) -> Tensor:
        """Numbers `[batch, steps, NUMBERS]`, int64, below `LEVELS`, of spectrograms `[batch, BANDS, frames]`."""
        return self.measure(features).nan_to_num().round().clamp(-HALF, HALF).long() + HALF

    def decode(self, numbers: Tensor) -> Tensor:
        """Spectrograms `[batch, BANDS, GROUP · steps]` of numbers, each group by itself."""
        groups = ((numbers - HALF) * self.step) @ self.basis.T + self.mean
        return groups.reshape(len(groups), -1, BANDS).transpose(1, 2)


@dataclass(frozen=True)
class Codec:
    """The codec with its constants.

    Args:
        components: of groups.
        corrector: nothing of it is trained in a run.
        outline: what describes a whole clip.
    """

    components: Components
    corrector: Corrector
    outline: Outline

    def __post_init__(self) -> None:
        self.corrector.requires_grad_(False).eval()

    def encode(self, features: Tensor) -> Tensor:
        """Numbers `[batch, steps, NUMBERS]`, int64, below `LEVELS`, of spectrograms `[batch, BANDS, frames]`."""
        with torch.no_grad():
            return self.components.encode(features)

    def measure(self, features: Tensor) -> Tensor:
        """What the numbers stand for before they are rounded, `[batch, steps, NUMBERS]`, within ±`WIDEST`."""
        with torch.no_grad():
            return (self.components.measure(features) * STEP).clamp(-WIDEST, WIDEST)

    def decode(self, numbers: Tensor) -> Tensor:
        """Spectrograms `[batch, BANDS, GROUP · steps]`, normalised, of numbers `[batch, steps, NUMBERS]`.

        The numbers need not be whole.
        """
        with torch.no_grad():
            found = self.components.decode(numbers) + self.corrector(values(numbers))
        return found.clamp(-CLIP, CLIP)

    def to_bytes(self) -> bytes:
        """The constants as safetensors, in half precision."""
        owners = {
            "components": vars(self.components),
            "corrector": self.corrector.state_dict(),
            "outline": vars(self.outline),
        }
        return save(
            {
                f"{owner}.{name}": value.to(torch.float16).contiguous()
                for owner, parts in owners.items()
                for name, value in parts.items()
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "Codec":
        """What `to_bytes` made."""
        parts: dict[str, dict[str, Tensor]] = {"components": {}, "corrector": {}, "outline": {}}
        for name, value in load(data).items():
            owner, _, rest = name.partition(".")
            parts[owner][rest] = value.to(torch.float32)
        corrector = Corrector()
        corrector.load_state_dict(parts["corrector"])
        return cls(Components(**parts["components"]), corrector, Outline(**parts["outline"]))


def values(numbers: Tensor) -> Tensor:
    """What numbers stand for, to networks: float32 within ±`WIDEST`."""
    return (numbers - HALF) * STEP


def numbers(values: Tensor) -> Tensor:
    """The numbers, not rounded, that stand for values."""
    return values / STEP + HALF


def grouped(features: Tensor) -> Tensor:
    """Spectrograms `[batch, bands, frames]` as whole groups `[batch, steps, GROUP · bands]`."""
    frames = features.transpose(1, 2)
    steps = frames.shape[1] // GROUP
    return frames[:, : steps * GROUP].reshape(len(frames), steps, -1)


@lru_cache(maxsize=1)
def shipped() -> Codec:
    """The codec that comes with this package."""
    with torch.random.fork_rng(devices=[]):  # a network draws its first parameters
        return Codec.from_bytes(files(__package__).joinpath(FILE).read_bytes())


def codec_for(spec: FeatureSpec, name: str) -> Codec:
    """The shipped codec, for a family of this name.

    Raises:
        ConfigurationError: it is for another number of bands.
    """
    if spec.n_mels != BANDS:
        raise ConfigurationError(f"'{name}' makes spectrograms of {BANDS} bands, not of {spec.n_mels}.")
    return shipped()
