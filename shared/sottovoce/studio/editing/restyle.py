"""Music in another style, as far as how loud its bands are goes: what an autoencoder hears, said in another style."""

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from sottovoce.errors import ConfigurationError, ReleaseError
from sottovoce.models.generator._moments import FRAMES, moments_of, spectrograms_of
from sottovoce.models.generator._style_embedding import one_hot
from sottovoce.models.generator.vae import MOMENT, WHOLE, Autoencoder
from sottovoce.release.load import Release
from sottovoce.studio.editing.spectral_effects import SpectralEffect

FAMILY = "vae"
EMPHASIS = 2.5
"""Times the difference: by itself it is 3 dB on average, and hardly heard."""


class Restyle(SpectralEffect):
    """Adds to the music the difference between what the autoencoder makes of it in the other style and in its own.

    Its own is the style in which the autoencoder describes the music best. In the other one, each latent number lies as
    far beside what that style expects as it does beside what its own does. What the autoencoder cannot describe (all
    detail) stays.

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
        """The difference between the two descriptions, emphasised, for each channel."""
        network, frames = cast(Autoencoder, self._release.model), values.shape[2]
        whole = functional.pad(values, (0, -frames % FRAMES), mode="replicate")
        found = torch.cat([self._difference(network, moments_of(network.codec, one[None])) for one in whole])
        return found[:, :, :frames]

    def _difference(self, network: Autoencoder, moments: Tensor) -> Tensor:
        """Of one channel's moments, `[1, bands, frames]`."""
        styles = network.style(one_hot(torch.arange(network.classes), network.classes))
        same = moments.expand(len(styles), -1, -1)
        nothing = torch.zeros(len(styles), WHOLE), torch.zeros(*same.shape[:2], MOMENT)
        own = int(network(same, styles, *nothing).argmin())
        described, other = spectrograms_of(network.codec, network.restyled(moments, styles[[own, self._style]])).chunk(
            2
        )
        return EMPHASIS * (other - described)
