"""Restyling: changes band levels by the difference between an autoencoder's reconstructions in two styles."""

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
"""Factor for the difference, which by itself averages 3 dB and is hardly audible."""


class Restyle(SpectralEffect):
    """Adds the difference between the autoencoder's reconstructions in the target style and in the music's own style.

    Its own style is the one in which the autoencoder describes the music best. For the target style, each latent keeps
    its number of deviations from the prior's mean. Details that the autoencoder cannot represent are unchanged.

    Args:
        release: a release of the task `generator` and the family `vae`.
        style: one of its classes.
        amount: share of the difference, 0 to 1.

    Raises:
        ReleaseError: the release belongs to another task or family.
        ConfigurationError: the style is unknown, or the amount is out of range.
    """

    name = "restyle"

    def __init__(self, release: Release, style: str, amount: float = 1.0) -> None:
        release.expect_task("generator")
        if release.manifest.family != FAMILY:
            raise ReleaseError(
                f"The release is a generator of the family '{release.manifest.family}'; restyling needs '{FAMILY}'.",
                hint="`sottovoce release show` shows a release's task.",
            )
        classes = release.manifest.classes
        if style not in classes:
            raise ConfigurationError(
                f"The release does not know the style '{style}'.", hint=f"Choose from {', '.join(classes)}."
            )
        super().__init__(release, amount)
        self._style = classes.index(style)

    def gains(self, values: Tensor) -> Tensor:
        """The emphasised difference of the two reconstructions, for each channel."""
        network, frames = cast(Autoencoder, self._release.model), values.shape[2]
        whole = functional.pad(values, (0, -frames % FRAMES), mode="replicate")
        found = torch.cat([self._difference(network, moments_of(network.codec, one[None])) for one in whole])
        return found[:, :, :frames]

    def _difference(self, network: Autoencoder, moments: Tensor) -> Tensor:
        """Difference for one channel's moments, `[1, bands, frames]`."""
        styles = network.style(one_hot(torch.arange(network.classes), network.classes))
        same = moments.expand(len(styles), -1, -1)
        nothing = torch.zeros(len(styles), WHOLE), torch.zeros(*same.shape[:2], MOMENT)
        own = int(network(same, styles, *nothing).argmin())
        described, other = spectrograms_of(network.codec, network.restyled(moments, styles[[own, self._style]])).chunk(
            2
        )
        return EMPHASIS * (other - described)
