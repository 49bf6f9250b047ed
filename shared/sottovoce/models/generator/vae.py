"""`vae`: a variational autoencoder (Kingma & Welling, ICLR 2014) of whole segments, conditioned on style."""

import math
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from sottovoce.features.spec import FeatureSpec, View
from sottovoce.models.base import Generator, Recipe
from sottovoce.models.generator._segments import Body, Decoder, endless, first_frames, one_hot
from sottovoce.models.recipes import local_noise, shared_noise

LATENT = 32
ENCODER, DECODER = (8, 16, 16), (24, 16, 4)
LEAST_SCALE, LARGEST_SCALE = 0.3, 2.0
LARGEST_SPREAD = 3.0
"""Of the logarithm of a latent number's variance, which is bounded so that no track's loss explodes."""


class Autoencoder(nn.Module):
    """Segments to latent numbers and back, both given the style; each band's deviation is learned by style."""

    def __init__(self, bands: int, classes: int) -> None:
        super().__init__()
        self.bands, self.classes = bands, classes
        self.body = Body(bands, ENCODER)
        self.means = nn.Linear(self.body.size + classes, LATENT)
        self.spreads = nn.Linear(self.body.size + classes, LATENT)
        self.decoder = Decoder(bands, classes, LATENT, DECODER)
        self.scales = nn.Linear(classes, bands)

    def encode(self, segments: Tensor, styles: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latents, `[batch, LATENT]`, of segments `[batch, bands, FRAMES]`."""
        known = torch.cat([self.body(segments), styles], dim=1)
        return self.means(known), LARGEST_SPREAD * torch.tanh(self.spreads(known))

    def decode(self, latents: Tensor, styles: Tensor) -> Tensor:
        """Mean segments `[batch, bands, FRAMES]` of latents `[batch, LATENT]` and one-hot styles `[batch, classes]`."""
        found: Tensor = self.decoder(latents, styles)
        return found

    def forward(self, segments: Tensor, styles: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Reconstruction `[batch, bands, FRAMES]`, log-scales `[batch, bands, 1]`, mean and log-variance of latents."""
        means, spreads = self.encode(segments, styles)
        found = self.decode(means + torch.exp(0.5 * spreads) * noise, styles)
        low, high = math.log(LEAST_SCALE), math.log(LARGEST_SCALE)
        log_scales = low + (high - low) * torch.sigmoid(self.scales(styles))
        return found, log_scales[:, :, None], means, spreads


class Vae(Generator):
    """The negative evidence lower bound as its loss: reconstruction and divergence, both within one clip."""

    task = "generator"
    name = "vae"
    view = View.SPECTROGRAM

    def recipe(self, *, private: bool, shared: bool = False) -> Recipe:
        """As for the other families: with privacy large batches, since noise is added once a step."""
        if shared:
            return shared_noise()
        return local_noise(private=private, steps=24, learning_rate=0.05, private_learning_rate=1.0)

    def build(self, spec: FeatureSpec, classes: int) -> nn.Module:
        """The network for spectrograms of `n_mels` bands, which 16 must divide."""
        return Autoencoder(spec.n_mels, classes)

    def losses(self, model: nn.Module, features: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
        """Nats for each number of a segment, `[batch]`: an upper bound on the negative log-likelihood."""
        segments = first_frames(features)
        network = cast(Autoencoder, model)
        noise = torch.randn(len(features), LATENT, generator=generator)
        found, log_scales, means, spreads = model(segments, one_hot(targets, network.classes), noise)
        errors = 0.5 * ((segments - found) * torch.exp(-log_scales)).square() + log_scales
        divergence = 0.5 * (means.square() + torch.exp(spreads) - 1 - spreads).sum(dim=1)
        losses: Tensor = errors.mean(dim=(1, 2)) + 0.5 * math.log(2 * math.pi) + divergence / segments[0].numel()
        return losses

    def sample(
        self, model: nn.Module, targets: Tensor, generator: torch.Generator, *, temperature: float = 1.0
    ) -> Iterator[Tensor]:
        """Mean segments of random latents, faded into one another."""
        network = cast(Autoencoder, model)
        styles = one_hot(targets, network.classes)
        return endless(lambda latents: network.decode(latents, styles), len(targets), LATENT, generator, temperature)


FAMILY = Vae()
