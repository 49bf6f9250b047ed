"""`gan`: a generator trained by a discriminator; only the discriminator sees private audio, under DP.

The discriminator's noisy updates are private, and so is everything derived from them without another look at the audio
(post-processing): the generator needs no noise of its own (Torkzadehmahani et al., "DP-CGAN", CVPR Workshops 2019).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from sottovoce.features.spec import FeatureSpec, View
from sottovoce.models.generator._codec import CODED, WIDEST, Codec, codec_for
from sottovoce.models.generator._moments import CONTEXT, SIZE, Stack, endless, moments_of, spectrograms_of
from sottovoce.models.generator._style_embedding import STYLE, one_hot
from sottovoce.models.interfaces import Generator, TrainingRecipe, trainable
from sottovoce.models.recipes import local_noise
from sottovoce.randomness import Randomness

CHANNELS = 128
DISCRIMINATOR_DILATIONS, GENERATOR_DILATIONS = (1, 2, 4, 8), (1, 2, 4, 8, 1)
"""Dilations, in moments, of the blocks of the discriminator and of the generator."""
WHOLE, SLOW, MOMENT = 16, 8, 16
"""Number of random inputs per clip, per `SLOWLY` moments, and per moment."""
SLOWLY = 8
WINDOWS = (4, 16, 48)
"""Windows, in moments, over which generated and public audio are compared when learning a public start."""
TINY = 1e-4
"""Constant added before taking a square root, to keep its gradient finite."""
ADVERSARIAL = 0.05
"""Weight of the adversarial loss relative to that distance."""
DISCRIMINATOR = "discriminator."
STEPS, BATCH, GENERATED_MOMENTS, LEARNING_RATE, LARGEST_NORM = 2, 16, 40, 0.1, 1.0
"""Generator steps after each discriminator step, clips per step, moments per clip, learning rate, gradient clip."""


class Discriminator(nn.Module):
    """Scores how realistic music of a style is: per moment, and as a whole."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.style = nn.Linear(classes, STYLE, bias=False)
        self.hear = nn.ModuleDict(
            {CODED: Stack(SIZE, STYLE, 2 * CHANNELS, channels=CHANNELS, dilations=DISCRIMINATOR_DILATIONS)}
        )
        self.moment = nn.Linear(CHANNELS, 1)
        self.whole = nn.Sequential(nn.Linear(CHANNELS + STYLE, CHANNELS), nn.GELU(), nn.Linear(CHANNELS, 1))

    def forward(self, moments: Tensor, styles: Tensor) -> Tensor:
        """Scores `[batch, 1 + moments]` of moments `[batch, moments, SIZE]` and one-hot styles; the first is global."""
        conditioning = self.style(styles)
        found = functional.gelu(self.hear[CODED](moments, conditioning))
        moment, whole = torch.split(found, CHANNELS, dim=2)
        score = self.whole(torch.cat([whole.mean(dim=1), conditioning], dim=1))
        return torch.cat([score, self.moment(moment)[:, :, 0]], dim=1)


class GeneratorNetwork(nn.Module):
    """Maps random numbers and a style to music."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.style = nn.Linear(classes, STYLE, bias=False)
        stack = Stack(MOMENT + SLOW, STYLE + WHOLE, SIZE, channels=CHANNELS, dilations=GENERATOR_DILATIONS)
        self.make = nn.ModuleDict({CODED: stack})
        self.level = nn.ModuleDict({CODED: nn.Linear(STYLE + WHOLE, SIZE, bias=False)})

    def forward(self, noise: Tensor, whole: Tensor, styles: Tensor) -> Tensor:
        """`[batch, moments, SIZE]` from `noise` `[batch, moments, MOMENT + SLOW]` and `whole` `[batch, WHOLE]`."""
        conditioning = torch.cat([self.style(styles), whole], dim=1)
        generated = self.make[CODED](noise, conditioning) + self.level[CODED](conditioning)[:, None]
        return WIDEST * torch.tanh(generated / WIDEST)


class Adversarial(nn.Module):
    """Both networks as one module."""

    def __init__(self, codec: Codec, classes: int) -> None:
        super().__init__()
        self.codec, self.classes = codec, classes
        self.discriminator = Discriminator(classes)
        self.generator = GeneratorNetwork(classes)

    def generated(self, targets: Tensor, moments: int, generator: torch.Generator) -> Tensor:
        """Generated music of these styles, `[batch, moments, SIZE]`."""
        noise = _noise(len(targets), moments, generator)
        whole = torch.randn(len(targets), WHOLE, generator=generator)
        return self.generator(noise, whole, one_hot(targets, self.classes))

    def forward(self, moments: Tensor, targets: Tensor) -> Tensor:
        """The discriminator's scores."""
        return self.discriminator(moments, one_hot(targets, self.classes))


class Gan(Generator):
    """Hinge losses; each discriminator step is followed by a few generator steps."""

    task = "generator"
    name = "gan"
    view = View.SPECTROGRAM
    distributed_noise = False
    """False: a label's own discriminator contains its noise only if the label adds all of it."""

    def recipe(self, *, private: bool, distributed: bool = False) -> TrainingRecipe:
        """Small steps, so that neither network outruns the other."""
        del distributed
        return local_noise(private=private, steps=24, learning_rate=0.05, private_learning_rate=1.0, momentum=0.0)

    def fine_tuning_recipe(self, *, private: bool, distributed: bool = False) -> TrainingRecipe:
        """Only the style embeddings are trained: the discriminator's on audio, then the generator's."""
        del distributed
        recipe = local_noise(private=private, steps=8, learning_rate=0.5, private_learning_rate=1.0, momentum=0.0)
        return replace(recipe, trainable=(f"{DISCRIMINATOR}style.", "generator.style."))

    def build(self, spec: FeatureSpec, classes: int) -> nn.Module:
        """Both networks for spectrograms of the codec's bands, at least one moment long.

        Raises:
            ConfigurationError: the spec has another number of bands than the codec.
        """
        return Adversarial(codec_for(spec, self.name), classes)

    def losses(self, model: nn.Module, features: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
        """The discriminator's loss on each real clip and one generated clip of the same style, `[batch]`."""
        network = cast(Adversarial, model)
        real = moments_of(network.codec, features)
        with torch.no_grad():
            generated = network.generated(targets, real.shape[1], generator)
        # Two passes instead of one over both: Opacus treats each row of a pass as an example, and adds up passes.
        return _balanced(functional.relu(1 - model(real, targets))) + _balanced(
            functional.relu(1 + model(generated, targets))
        )

    def private_parameters(self, model: nn.Module) -> Mapping[str, nn.Parameter]:
        """The discriminator's parameters."""
        return {name: value for name, value in trainable(model).items() if name.startswith(DISCRIMINATOR)}

    def after_step(self, model: nn.Module, randomness: Randomness) -> None:
        """Generator steps against the current discriminator, on uniformly drawn styles."""
        network = cast(Adversarial, model)
        # A copy without the hooks that collect private gradients on the original.
        free = Adversarial(network.codec, network.classes)
        free.load_state_dict(network.state_dict())
        free.discriminator.requires_grad_(False)
        moved = trainable(network.generator)
        wanted = [value.requires_grad_(name in moved) for name, value in free.generator.named_parameters()]
        optimizer = torch.optim.SGD([value for value in wanted if value.requires_grad], lr=LEARNING_RATE)
        generator = randomness.torch_generator()
        for _ in range(STEPS):
            targets = torch.randint(network.classes, (BATCH,), generator=generator)
            scores = free(free.generated(targets, GENERATED_MOMENTS, generator), targets)
            optimizer.zero_grad()
            torch.autograd.backward(-_balanced(scores).mean())
            nn.utils.clip_grad_norm_(wanted, LARGEST_NORM)
            optimizer.step()
        network.generator.load_state_dict(free.generator.state_dict())

    def follow(self, model: nn.Module, features: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
        """The generator's loss on public audio: the adversarial loss, and a distance to that audio.

        The distance is the energy distance of conditional samples, which rewards diversity (Gritsenko et al., "A
        spectral energy distance for parallel speech synthesis", NeurIPS 2020, equation 6), on statistics over windows.
        """
        network = cast(Adversarial, model)
        real = moments_of(network.codec, features)
        one, other = (network.generated(targets, real.shape[1], generator) for _ in range(2))
        distance = _clip_distance(real, one) + _clip_distance(real, other) - _clip_distance(one, other)
        return (distance - ADVERSARIAL * _balanced(network(one, targets))).mean()

    def sample(
        self, model: nn.Module, targets: Tensor, generator: torch.Generator, *, temperature: float = 1.0
    ) -> Iterator[Tensor]:
        """An endless sequence of pieces; the temperature scales the deviation of all random inputs."""
        network = cast(Adversarial, model)
        styles, count = one_hot(targets, network.classes), len(targets)
        whole = temperature * torch.randn(count, WHOLE, generator=generator)
        noise = _Noise(count, generator)
        return endless(
            lambda moments: temperature * noise.more(moments),
            lambda latents: spectrograms_of(network.codec, network.generator(latents, whole, styles)),
            sum(GENERATOR_DILATIONS) + CONTEXT,
        )


class _Noise:
    """Random inputs of moments, some of which stay constant for several moments."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self._generator = generator
        self._left = torch.zeros(count, 0, MOMENT + SLOW)

    def more(self, moments: int) -> Tensor:
        """The next `moments` inputs, `[count, moments, MOMENT + SLOW]`."""
        count, kept = len(self._left), self._left.shape[1]
        times = max(0, -(-(moments - kept) // SLOWLY))
        slow = torch.randn(count, times, SLOW, generator=self._generator).repeat_interleave(SLOWLY, dim=1)
        fresh = torch.randn(count, times * SLOWLY, MOMENT, generator=self._generator)
        found = torch.cat([self._left, torch.cat([fresh, slow], dim=2)], dim=1)
        self._left = found[:, moments:]
        return found[:, :moments]


def _noise(count: int, moments: int, generator: torch.Generator) -> Tensor:
    return _Noise(count, generator).more(moments)


def _balanced(scores: Tensor) -> Tensor:
    """Score `[batch]`, with equal weight for the whole and for the mean over moments."""
    return (scores[:, 0] + scores[:, 1:].mean(dim=1)) / 2


def _clip_distance(one: Tensor, other: Tensor) -> Tensor:
    """Distance between two clips, `[batch]`: of means, deviations and changes over windows."""
    windows = [min(window, one.shape[1]) for window in WINDOWS]
    pairs = [(one, other), *((_statistics(one, window), _statistics(other, window)) for window in windows)]
    return torch.stack([_distance(*pair) for pair in pairs]).mean(dim=0)


def _distance(one: Tensor, other: Tensor) -> Tensor:
    """Distance `[batch]` between statistics `[batch, windows, statistics]`."""
    return ((one - other).square().mean(dim=2) + TINY).sqrt().mean(dim=1)


def _statistics(moments: Tensor, window: int) -> Tensor:
    """Statistics `[batch, windows, 3 · SIZE]` over windows of moments."""
    whole = moments.shape[1] // window * window
    means, squares, changes = (
        values[:, :whole].reshape(len(values), -1, window, SIZE).mean(dim=2)
        for values in (moments, moments.square(), functional.pad(moments.diff(dim=1).abs(), (0, 0, 0, 1)))
    )
    return torch.cat([means, ((squares - means.square()).clamp(min=0) + TINY).sqrt(), changes], dim=2)


FAMILY = Gan()
