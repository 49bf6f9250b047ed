"""A small codec: groups of spectral frames to a few whole numbers each, and back.

Its constants were learned from public audio and come with the package, so that what a model learns in private is only
which numbers follow one another. Residual vector quantisation (Zeghidour et al., "SoundStream", 2021, section III.C) of
principal components: each level names the codeword that is nearest to what the levels before it have left.
"""

from dataclasses import dataclass, fields
from functools import lru_cache
from importlib.resources import files

import torch
from safetensors.torch import load, save
from torch import Tensor

from sottovoce.features.normalisation import CLIP

VERSION = 1
"""Raised whenever the same numbers would sound different: a model of another codec's numbers is then refused."""
FILE = f"codec-{VERSION}.safetensors"
GROUP = 4
"""Frames that are coded together: 93 ms."""
LENGTH = 4.0


@dataclass(frozen=True)
class Codec:
    """The codec's constants.

    Args:
        mean: of groups, `[GROUP · bands]`.
        basis: principal components, orthonormal, `[GROUP · bands, D]`.
        words: codewords of each level, `[levels, words, D]`.
    """

    mean: Tensor
    basis: Tensor
    words: Tensor

    @property
    def bands(self) -> int:
        """Bands of the spectrograms that it is for."""
        return len(self.mean) // GROUP

    @property
    def levels(self) -> int:
        """Numbers of each group."""
        return int(self.words.shape[0])

    def components(self, groups: Tensor) -> Tensor:
        """Groups of normalised frames `[…, GROUP · bands]` as components `[…, D]`."""
        found: Tensor = (groups - self.mean) @ self.basis
        return found

    def scaled(self, components: Tensor) -> Tensor:
        """Components such that those of a first codeword have a mean square of `LENGTH`²: what networks are told."""
        return components * (LENGTH / self.words[0].square().sum(dim=1).mean().sqrt())

    def encode(self, components: Tensor) -> Tensor:
        """The numbers `[…, levels]`, int64, of components `[…, D]`."""
        left, found = components, []
        for words in self.words:
            nearest = (left @ words.T - 0.5 * words.square().sum(dim=1)).argmax(dim=-1)
            left = left - words[nearest]
            found.append(nearest)
        return torch.stack(found, dim=-1)

    def decode(self, codes: Tensor) -> Tensor:
        """Components `[…, D]` that numbers `[…, levels]` stand for."""
        return torch.stack([words[codes[..., level]] for level, words in enumerate(self.words)]).sum(dim=0)

    def frames(self, components: Tensor) -> Tensor:
        """Normalised frames `[batch, bands, GROUP · steps]` of components `[batch, steps, D]`."""
        groups = (components @ self.basis.T + self.mean).clamp(-CLIP, CLIP)
        return groups.reshape(len(groups), -1, self.bands).transpose(1, 2)

    def to_bytes(self) -> bytes:
        """The constants as safetensors, in half precision."""
        return save({field.name: getattr(self, field.name).to(torch.float16).contiguous() for field in fields(self)})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Codec":
        """What `to_bytes` made."""
        return cls(**{name: value.to(torch.float32) for name, value in load(data).items()})


def grouped(features: Tensor) -> Tensor:
    """Spectrograms `[batch, bands, frames]` as whole groups `[batch, steps, GROUP · bands]`."""
    frames = features.transpose(1, 2)
    steps = frames.shape[1] // GROUP
    return frames[:, : steps * GROUP].reshape(len(frames), steps, -1)


@lru_cache(maxsize=1)
def shipped() -> Codec:
    """The codec that comes with this package."""
    return Codec.from_bytes(files(__package__).joinpath(FILE).read_bytes())
