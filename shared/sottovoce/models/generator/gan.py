"""`gan`: a generator that learns from a discriminator, which alone meets private audio, and with privacy.

What a discriminator's noised steps give is private, and so is whatever is made of it without another look at the audio
(post-processing): the generator needs no noise of its own (Torkzadehmahani et al., "DP-CGAN", CVPR Workshops 2019).
"""

from collections.abc import Iterator, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from sottovoce.entropy import Randomness
from sottovoce.features.spec import FeatureSpec, View
from sottovoce.models.base import Generator, Recipe
from sottovoce.models.generator._segments import Body, Decoder, endless, first_frames, one_hot
from sottovoce.models.parameters import trainable
from sottovoce.models.recipes import local_noise

LATENT = 32
BODY, DECODER = (8, 16, 16), (24, 16, 4)
DISCRIMINATOR = "discriminator."
STEPS, BATCH, LEARNING_RATE, LARGEST_NORM = 2, 16, 0.1, 1.0
"""Of the generator, after each of the discriminator's steps."""


class Discriminator(nn.Module):
    """How much a segment seems real, one score for each style that it might be of."""

    def __init__(self, bands: int, classes: int) -> None:
        super().__init__()
        self.body = Body(bands, BODY)
        self.head = nn.Linear(self.body.size, classes)

    def forward(self, segments: Tensor) -> Tensor:
        """Scores `[batch, classes]` of segments `[batch, bands, FRAMES]`."""
        scores: Tensor = self.head(self.body(segments))
        return scores


class Adversarial(nn.Module):
    """Both networks, which travel together."""

    def __init__(self, bands: int, classes: int) -> None:
        super().__init__()
        self.bands, self.classes = bands, classes
        self.discriminator = Discriminator(bands, classes)
        self.generator = Decoder(bands, classes, LATENT, DECODER)

    def forward(self, segments: Tensor) -> Tensor:
        """The discriminator's scores."""
        scores: Tensor = self.discriminator(segments)
        return scores


class Gan(Generator):
    """Hinge losses; every step of the discriminator is followed by a few of the generator."""

    task = "generator"
    name = "gan"
    view = View.SPECTROGRAM
    shared_noise = False
    """A label's own discriminator has its noise only where the label adds all of it."""

    def recipe(self, *, private: bool, shared: bool = False) -> Recipe:
        """Small steps: neither network must outrun the other."""
        del shared
        return local_noise(private=private, steps=24, learning_rate=0.05, private_learning_rate=1.0, momentum=0.0)

    def build(self, spec: FeatureSpec, classes: int) -> nn.Module:
        """Both networks for spectrograms of `n_mels` bands, which 16 must divide."""
        return Adversarial(spec.n_mels, classes)

    def losses(self, model: nn.Module, features: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
        """The discriminator's loss on each real segment and one made one of the same style, `[batch]`."""
        network = cast(Adversarial, model)
        real = first_frames(features)
        with torch.no_grad():
            made = _made(network, targets, generator)
        # Two passes, not one over both: Opacus takes each row of a pass for an example, and adds up passes.
        of_real, of_made = (network(each).gather(1, targets[:, None])[:, 0] for each in (real, made))
        return functional.relu(1 - of_real) + functional.relu(1 + of_made)

    def private_parameters(self, model: nn.Module) -> Mapping[str, nn.Parameter]:
        """The discriminator's."""
        return {name: value for name, value in trainable(model).items() if name.startswith(DISCRIMINATOR)}

    def after_step(self, model: nn.Module, randomness: Randomness) -> None:
        """Steps of the generator against the discriminator as it is now, on styles drawn evenly."""
        network = cast(Adversarial, model)
        # A copy without the hooks that collect private gradients on the original.
        free = Adversarial(network.bands, network.classes)
        free.load_state_dict(network.state_dict())
        free.discriminator.requires_grad_(False)
        wanted = list(free.generator.parameters())
        optimizer = torch.optim.SGD(wanted, lr=LEARNING_RATE)
        generator = randomness.torch_generator()
        for _ in range(STEPS):
            targets = torch.randint(network.classes, (BATCH,), generator=generator)
            scores = free(_made(free, targets, generator)).gather(1, targets[:, None])
            optimizer.zero_grad()
            torch.autograd.backward(-scores.mean())
            nn.utils.clip_grad_norm_(wanted, LARGEST_NORM)
            optimizer.step()
        network.generator.load_state_dict(free.generator.state_dict())

    def sample(
        self, model: nn.Module, targets: Tensor, generator: torch.Generator, *, temperature: float = 1.0
    ) -> Iterator[Tensor]:
        """Segments of random latents, faded into one another."""
        network = cast(Adversarial, model)
        styles = one_hot(targets, network.classes)
        return endless(lambda latents: network.generator(latents, styles), len(targets), LATENT, generator, temperature)


def _made(network: Adversarial, targets: Tensor, generator: torch.Generator) -> Tensor:
    latents = torch.randn(len(targets), LATENT, generator=generator)
    made: Tensor = network.generator(latents, one_hot(targets, network.classes))
    return made


FAMILY = Gan()
