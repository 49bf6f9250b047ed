"""Music in another style, as far as how loud its bands are goes: what an autoencoder hears, said in another style."""

from typing import cast

import torch
from torch import Tensor

from sottovoce.editing.spectral import SpectralEffect
from sottovoce.errors import ConfigurationError, ReleaseError
from sottovoce.models.generator._segments import first_frames, one_hot
from sottovoce.models.generator.vae import Autoencoder
from sottovoce.release.load import Release

FAMILY = "vae"


class Restyle(SpectralEffect):
    """Adds to the music the difference between what the autoencoder makes of it in the other style and in its own.

    Its own is the style in which the autoencoder describes the music best. What it cannot describe (all detail) stays,
    and so do notes and rhythm.

    Args:
        release: of the task `generator` and the family `vae`.
        style: one of its classes.
        amount: of the difference, 0 to 1.

    Raises:
        ReleaseError: the release is of another task or family.
        ConfigurationError: it knows no such style, or the amount is out of range.
    """

    name = "restyle"

    def __init__(self, release: Release, style: str, amount: float = 1.0) -> None:
        release.expect_task("generator")
        if release.manifest.family != FAMILY:
            raise ReleaseError(
                f"The release is a generator of the family '{release.manifest.family}'; restyling needs '{FAMILY}'.",
                hint="`sottovoce release show` says what a release is for.",
            )
        classes = release.manifest.classes
        if style not in classes:
            raise ConfigurationError(
                f"The release knows no style '{style}'.", hint=f"Choose from {', '.join(classes)}."
            )
        super().__init__(release, amount)
        self._style = classes.index(style)

    def gains(self, values: Tensor) -> Tensor:
        """The difference between the two descriptions, for each channel."""
        network, frames = cast(Autoencoder, self._release.model), values.shape[2]
        segments = first_frames(values)
        classes = network.classes
        found = torch.stack([self._difference(network, segment.expand(classes, -1, -1)) for segment in segments])
        missing = max(0, frames - found.shape[2])
        return torch.cat([found, found[:, :, -1:].expand(-1, -1, missing)], dim=2)[:, :, :frames]

    def _difference(self, network: Autoencoder, segments: Tensor) -> Tensor:
        """Of one segment, repeated for each style, `[bands, frames]`."""
        own = one_hot(torch.arange(network.classes), network.classes)
        latents, _ = network.encode(segments, own)
        described = network.decode(latents, own)
        best = int((described - segments).square().mean(dim=(1, 2)).argmin())
        other = network.decode(latents[best : best + 1], own[self._style : self._style + 1])
        return other[0] - described[best]
