"""`vae`: a recurrent variational autoencoder (Kingma & Welling, ICLR 2014) of music, conditioned on style.

It describes a clip by a few latents for the whole and a few per moment. The prior of a moment's latents depends on the
moments before (as in Chung et al., "A recurrent latent variable model for sequential data", NeurIPS 2015, with
convolutions), so that sampled music is coherent. Its inputs and outputs are the codec's values.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from sottovoce.features.spec import FeatureSpec, View
from sottovoce.models.generator import _codec
from sottovoce.models.generator._codec import CODED, codec_for
from sottovoce.models.generator._moments import CONTEXT, SIZE, Stack, endless, moments_of, spectrograms_of
from sottovoce.models.generator._style_embedding import STYLE, UNSTYLED, one_hot
from sottovoce.models.interfaces import Generator, TrainingRecipe
from sottovoce.models.recipes import distributed_noise, local_noise, styles_alone

CHANNELS = 192
WHOLE, MOMENT = 16, 32
"""Number of latents per clip, and per moment."""
ENCODER_DILATIONS, DECODER_DILATIONS = (1, 2, 4), (1, 2, 1)
"""Dilations, in moments, of the encoder and of the decoder."""
PRIOR_DILATIONS = (1, 2, 4, 8, 16)
"""Dilations, in moments, of the prior, which sees 62 moments (11.5 s) back."""
REMEMBERED = 2 * sum(PRIOR_DILATIONS)
GUIDANCE = 3.0
"""Classifier-free guidance scale of the prior."""
SPREAD = 4.0
"""Largest magnitude of logarithms of variances, so that no track's loss explodes."""
LEAST, MOST = 0.1, 2.0
"""Range of the decoder's deviations."""
ROUGH = 0.5
"""Factor for these deviations when sampling: independent noise in all values is audible as noise."""


class Gaussian(NamedTuple):
    """Independent normal distributions: means and logarithms of variances."""

    means: Tensor
    spreads: Tensor

    @classmethod
    def of(cls, parts: Tensor) -> "Gaussian":
        """Split the last axis into means and logarithms of variances."""
        means, spreads = parts.chunk(2, dim=-1)
        return cls(means, SPREAD * torch.tanh(spreads / SPREAD))

    def sampled(self, noise: Tensor) -> Tensor:
        """Sample, given standard normal numbers."""
        return self.means + torch.exp(0.5 * self.spreads) * noise

    def transferred(self, values: Tensor) -> Tensor:
        """Map samples of the first distribution to each of them: same number of deviations from the mean."""
        beside = (values - self.means[:1]) * torch.exp(-0.5 * self.spreads[:1])
        return self.means + torch.exp(0.5 * self.spreads) * beside

    def divergence(self, expected: "Gaussian") -> Tensor:
        """Kullback-Leibler divergence from `expected` in nats, summed over the last axis."""
        beside = (self.means - expected.means).square() * torch.exp(-expected.spreads)
        change = self.spreads - expected.spreads
        return 0.5 * (beside + torch.exp(change) - 1 - change).sum(dim=-1)


class Autoencoder(nn.Module):
    """Encodes values of moments `[batch, moments, TOGETHER · NUMBERS]` as latents, and decodes them."""

    def __init__(self, codec: _codec.Codec, classes: int) -> None:
        super().__init__()
        self.codec, self.classes = codec, classes
        conditioning = STYLE + WHOLE
        self.style = nn.Linear(classes, STYLE, bias=False)
        self.hear = Stack(SIZE, 0, 2 * (WHOLE + MOMENT), channels=CHANNELS, dilations=ENCODER_DILATIONS)
        self.outline = nn.Linear(STYLE, 2 * WHOLE)
        self.expect = Stack(MOMENT, conditioning, 2 * MOMENT, channels=CHANNELS, dilations=PRIOR_DILATIONS, causal=True)
        say = Stack(MOMENT, conditioning, 2 * SIZE, channels=CHANNELS, dilations=DECODER_DILATIONS)
        self.say = nn.ModuleDict({CODED: say})

    def posterior(self, values: Tensor) -> tuple[Gaussian, Gaussian]:
        """Posterior of the clip's latents, `[batch, WHOLE]`, and of each moment's, `[batch, moments, MOMENT]`."""
        whole, moment = self.hear(values).split([2 * WHOLE, 2 * MOMENT], dim=-1)
        return Gaussian.of(whole.mean(dim=1)), Gaussian.of(moment)

    def prior(self, styles: Tensor) -> Gaussian:
        """Prior of clip latents, `[batch, WHOLE]`, for a style embedding `[batch, STYLE]`."""
        return Gaussian.of(self.outline(styles))

    def moment_prior(self, moments: Tensor, conditioning: Tensor) -> Gaussian:
        """Prior of each moment's latents given earlier moments, `[batch, moments, MOMENT]`."""
        return Gaussian.of(self.expect(functional.pad(moments, (0, 0, 1, 0))[:, :-1], conditioning))

    def reconstruction(self, moment: Tensor, conditioning: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-deviations of values, `[batch, moments, TOGETHER · NUMBERS]` each."""
        means, scales = self.say[CODED](moment, conditioning).chunk(2, dim=-1)
        low, high = math.log(LEAST), math.log(MOST)
        return means, low + (high - low) * torch.sigmoid(scales)

    def forward(self, values: Tensor, styles: Tensor, of_whole: Tensor, of_moments: Tensor) -> Tensor:
        """Negative evidence lower bound per value in nats, `[batch]`, with latents sampled using the given noise.

        Args:
            values: `[batch, moments, SIZE]`.
            styles: style embeddings; 0 where the style is dropped, `[batch, STYLE]`.
            of_whole: noise for the clip's latents, `[batch, WHOLE]`.
            of_moments: noise for the moments' latents, `[batch, moments, MOMENT]`.
        """
        whole, moment = self.posterior(values)
        sampled = moment.sampled(of_moments)
        conditioning = torch.cat([styles, whole.sampled(of_whole)], dim=1)
        means, scales = self.reconstruction(sampled, conditioning)
        errors = 0.5 * ((values - means) * torch.exp(-scales)).square() + scales + 0.5 * math.log(2 * math.pi)
        divergence = moment.divergence(self.moment_prior(sampled, conditioning)).sum(dim=1) + whole.divergence(
            self.prior(styles)
        )
        return errors.mean(dim=(1, 2)) + divergence / values[0].numel()

    def restyled(self, values: Tensor, styles: Tensor) -> Tensor:
        """Reconstruction of music in its own style and in another one: `[2, moments, SIZE]`.

        Each latent keeps its number of deviations from the prior's mean when it moves from its own style's prior to the
        other's.

        Args:
            values: `[1, moments, SIZE]`.
            styles: embeddings of its own style and of the other one, `[2, STYLE]`.
        """
        whole, moment = (found.means.expand(2, *found.means.shape[1:]) for found in self.posterior(values))
        outline = self.prior(styles).transferred(whole)
        conditioning = torch.cat([styles, outline], dim=1)
        means, _ = self.reconstruction(self.moment_prior(moment, conditioning).transferred(moment), conditioning)
        return means


class Vae(Generator):
    """Variational autoencoder with the negative evidence lower bound as its loss, computed per clip."""

    task = "generator"
    name = "vae"
    view = View.SPECTROGRAM

    def recipe(self, *, private: bool, distributed: bool = False) -> TrainingRecipe:
        """Large batches with privacy, since noise is added once per step, as in the other families."""
        if distributed:
            return distributed_noise()
        return local_noise(private=private, steps=24, learning_rate=0.05, private_learning_rate=1.0)

    def fine_tuning_recipe(self, *, private: bool, distributed: bool = False) -> TrainingRecipe:
        """Only the style embeddings are trained."""
        return styles_alone(private=private, distributed=distributed)

    def build(self, spec: FeatureSpec, classes: int) -> nn.Module:
        """The network for spectrograms of the codec's bands, at least one moment long.

        Raises:
            ConfigurationError: the spec has another number of bands than the codec.
        """
        return Autoencoder(codec_for(spec, self.name), classes)

    def losses(self, model: nn.Module, features: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
        """Nats per codec value, `[batch]`: an upper bound on their negative log-density."""
        network = cast(Autoencoder, model)
        values = moments_of(network.codec, features)
        styles: Tensor = network.style(one_hot(targets, network.classes))
        if model.training:
            styles = styles * (torch.rand((len(styles), 1), generator=generator) >= UNSTYLED)
        noise = torch.randn(len(values), WHOLE, generator=generator)
        return model(values, styles, noise, torch.randn(*values.shape[:2], MOMENT, generator=generator))

    def sample(
        self, model: nn.Module, targets: Tensor, generator: torch.Generator, *, temperature: float = 1.0
    ) -> Iterator[Tensor]:
        """An endless sequence of pieces."""
        network = cast(Autoencoder, model)
        with torch.inference_mode():
            styles = network.style(one_hot(targets, network.classes))
            outline = network.prior(styles).sampled(
                temperature * torch.randn((len(styles), WHOLE), generator=generator)
            )
            conditioning = torch.cat([styles, outline], dim=1)
            # Each moment is predicted with and without its style, for guidance.
            both = torch.cat([conditioning, torch.cat([torch.zeros_like(styles), outline], dim=1)])
        past = torch.zeros(len(styles), 1, MOMENT)

        def more(count: int) -> Tensor:
            nonlocal past
            for _ in range(count):
                moment_prior = Gaussian.of(network.expect(past.repeat(2, 1, 1), both))
                (one, other), (spread, _) = (part[:, -1].chunk(2) for part in moment_prior)
                noise = temperature * torch.randn(one.shape, generator=generator)
                found = Gaussian(other + GUIDANCE * (one - other), spread).sampled(noise)
                past = torch.cat([past, found[:, None]], dim=1)[:, -max(count, REMEMBERED) - 1 :]
            rough = ROUGH * temperature * torch.randn(len(past), count, SIZE, generator=generator)
            return torch.cat([past[:, -count:], rough], dim=2)

        def decode(latents: Tensor) -> Tensor:
            means, scales = network.reconstruction(latents[:, :, :MOMENT], conditioning)
            return spectrograms_of(network.codec, means + torch.exp(scales) * latents[:, :, MOMENT:])

        return endless(more, decode, sum(DECODER_DILATIONS) + CONTEXT)


FAMILY = Vae()
