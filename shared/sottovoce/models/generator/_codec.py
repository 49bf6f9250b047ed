"""A small codec: groups of spectral frames to quantised latents ("numbers"), and back.

Its constants were learned from public audio and are part of the package, so that private training only has to learn
which numbers follow one another, and a large decoder costs no privacy. Each number is a quantised principal component
of a group, so nearby numbers sound similar. A corrector network restores what quantisation and dropped components
removed; it sees neighbouring groups and was trained on partly wrong numbers, so that it smooths out values that do not
fit.
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
"""Version, raised whenever the same numbers would sound different; models of another version are then refused."""
FILE = f"codec-{VERSION}.safetensors"
CODED = f"codec{VERSION}"
"""Marker in names of parameters that belong to this codec's numbers; parameters of another codec do not fit."""
GROUP = 4
"""Length of a group, frames (93 ms)."""
BANDS = 256
NUMBERS = 64
"""Numbers per group, by decreasing variance."""
HALF = 7
LEVELS = 2 * HALF + 1
"""Levels of a number."""
WIDEST = 3.0
"""Smallest value of the outermost levels, in deviations."""
STEP = WIDEST / HALF
"""Distance between levels in the values that networks see."""
CHANNELS, FINE = 256, 128
"""Channels of the networks at the resolution of groups, and at that of frames."""
DILATIONS = (1, 1, 2, 4)
"""Dilations of the residual blocks' convolutions, groups."""
CONTEXT = 2 + sum(DILATIONS)
"""Largest number of groups on either side that affect a decoded group."""


class Residual(nn.Module):
    """Two convolutions over time with a skip connection, `[batch, channels, steps]`.

    Args:
        channels: number of channels.
        dilation: distance between taps of the first convolution, steps.
        causal: whether an output depends on no later step.
    """

    def __init__(self, channels: int, dilation: int = 1, *, causal: bool = False) -> None:
        super().__init__()
        self.beside = (2 * dilation, 0) if causal else (dilation, dilation)
        self.norm = nn.LayerNorm(channels)
        self.wide = nn.Conv1d(channels, channels, 3, dilation=dilation)
        self.narrow = nn.Conv1d(channels, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Output with the shape of the input."""
        normed = functional.gelu(self.norm(maps.transpose(1, 2)).transpose(1, 2))
        return maps + self.narrow(functional.gelu(self.wide(functional.pad(normed, self.beside))))


class Corrector(nn.Module):
    """Correction added to the sum of components, by convolutions over time. Bands are channels: pitch is absolute."""

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
        """Correction `[batch, BANDS, GROUP · steps]` for `values` of numbers, `[batch, steps, NUMBERS]`."""
        hidden = self.groups(self.told(values.transpose(1, 2))).transpose(1, 2)
        frames = self.frames(hidden).reshape(len(hidden), -1, FINE)
        frames = frames + functional.gelu(self.smooth(functional.gelu(frames).transpose(1, 2)).transpose(1, 2))
        return self.bands(functional.gelu(frames)).transpose(1, 2)


@dataclass(frozen=True)
class Components:
    """Principal components of groups, and their quantisation.

    Args:
        mean: mean of groups, `[GROUP · BANDS]`.
        basis: orthonormal, `[GROUP · BANDS, NUMBERS]`.
        step: distance between levels of each component, `[NUMBERS]`.
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
        """Spectrograms `[batch, BANDS, GROUP · steps]` from numbers, each group independently."""
        groups = ((numbers - HALF) * self.step) @ self.basis.T + self.mean
        return groups.reshape(len(groups), -1, BANDS).transpose(1, 2)


@dataclass(frozen=True)
class Codec:
    """The codec with its constants.

    Args:
        components: principal components of groups.
        corrector: corrector network; fixed during runs.
        outline: statistics that describe a whole clip.
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
        """Values before quantisation, `[batch, steps, NUMBERS]`, within ±`WIDEST`."""
        with torch.no_grad():
            return (self.components.measure(features) * STEP).clamp(-WIDEST, WIDEST)

    def decode(self, numbers: Tensor) -> Tensor:
        """Normalised spectrograms `[batch, BANDS, GROUP · steps]` from numbers `[batch, steps, NUMBERS]`.

        The numbers may be fractional.
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
        """Read constants written by `to_bytes`."""
        parts: dict[str, dict[str, Tensor]] = {"components": {}, "corrector": {}, "outline": {}}
        for name, value in load(data).items():
            owner, _, rest = name.partition(".")
            parts[owner][rest] = value.to(torch.float32)
        corrector = Corrector()
        corrector.load_state_dict(parts["corrector"])
        return cls(Components(**parts["components"]), corrector, Outline(**parts["outline"]))


def values(numbers: Tensor) -> Tensor:
    """Values of numbers, as networks see them: float32 within ±`WIDEST`."""
    return (numbers - HALF) * STEP


def numbers(values: Tensor) -> Tensor:
    """Fractional numbers from values; the inverse of `values`."""
    return values / STEP + HALF


def grouped(features: Tensor) -> Tensor:
    """Spectrograms `[batch, bands, frames]` as complete groups `[batch, steps, GROUP · bands]`."""
    frames = features.transpose(1, 2)
    steps = frames.shape[1] // GROUP
    return frames[:, : steps * GROUP].reshape(len(frames), steps, -1)


@lru_cache(maxsize=1)
def shipped() -> Codec:
    """The codec shipped with this package."""
    with torch.random.fork_rng(devices=[]):  # constructing a network draws random parameters
        return Codec.from_bytes(files(__package__).joinpath(FILE).read_bytes())


def codec_for(spec: FeatureSpec, name: str) -> Codec:
    """The shipped codec, for the family `name`.

    Raises:
        ConfigurationError: the spec has another number of bands.
    """
    if spec.n_mels != BANDS:
        raise ConfigurationError(f"'{name}' generates spectrograms of {BANDS} bands, not {spec.n_mels}.")
    return shipped()
