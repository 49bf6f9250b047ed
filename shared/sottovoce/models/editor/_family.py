"""What both families of editors share: everything but the network."""

from dataclasses import replace
from typing import Protocol, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from sottovoce.features.normalisation import CLIP
from sottovoce.features.spec import View
from sottovoce.features.spectrogram import FLOOR
from sottovoce.models.editor._conditioning import observe, restored
from sottovoce.models.editor._corruption import corrupted
from sottovoce.models.editor._noise import Levels
from sottovoce.models.interfaces import Editor, TrainingRecipe
from sottovoce.models.recipes import distributed_noise, local_noise

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)

STARTED = 0.005
"""Learning rate for fine-tuning a public start: after larger steps, 0.5 and 0.05, the `rnn` denoises worse
(docs/editors.md)."""
SMOOTH = 0.2
"""Error below which the loss is quadratic, in deviations of a band."""


class Network(Protocol):
    """A network that predicts how to restore a spectrogram."""

    levels: Levels

    def __call__(self, left: Tensor, right: Tensor, conditions: Tensor) -> Tensor:
        """Maps `[batch, MAPS, bands, frames]` from the parts of `Observed`."""
        ...


def faint(layer: Layer) -> Layer:
    """Scale down a network's last layer, so that it starts with linear interpolation of gaps."""
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(cast(Tensor, layer.bias))
    return layer


class SpectralEditor(Editor):
    """Learns to undo the corruption of each example; errors are measured in deviations of a band."""

    task = "editor"
    view = View.SPECTROGRAM
    learning_rate = 0.5
    """Learning rate without privacy, with momentum."""

    def recipe(self, *, private: bool, distributed: bool = False) -> TrainingRecipe:
        """Large batches with privacy, since noise is added once per step."""
        if distributed:
            return distributed_noise()
        return local_noise(private=private, steps=16, learning_rate=self.learning_rate, private_learning_rate=0.1)

    def fine_tuning_recipe(self, *, private: bool, distributed: bool = False) -> TrainingRecipe:
        """Small steps, which preserve what the start has learned."""
        recipe = self.recipe(private=private, distributed=distributed)
        return recipe if private or distributed else replace(recipe, learning_rate=STARTED)

    def losses(self, model: nn.Module, features: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
        """Mean error of each example, `[batch]`, over the missing frames, or over all frames of a noisy example.

        Louder values have more weight.
        """
        del targets  # repairs depend on the context, not on the style
        levels = cast(Network, model).levels
        example = corrupted(levels, features, generator)
        observed = example.observed
        found = restored(observed, model(observed.left, observed.right, observed.conditions))
        errors = functional.smooth_l1_loss(found, example.clean, beta=SMOOTH, reduction="none")
        weights = _loudness_weights(levels, example.clean) * example.counted[:, None]
        return (errors * weights).sum(dim=(1, 2)) / weights.sum(dim=(1, 2))

    def restore(self, model: nn.Module, values: Tensor, missing: Tensor, noisy: Tensor) -> Tensor:
        """See `Editor.restore`."""
        observed = observe(values, missing, noisy)
        with torch.no_grad():
            maps = model(observed.left, observed.right, observed.conditions)
            return restored(observed, maps).clamp(-CLIP, CLIP)


def _loudness_weights(levels: Levels, clean: Tensor) -> Tensor:
    """Loss weights, `[batch, bands, frames]`: one half uniform, one half by the square root of the magnitude."""
    roots = (levels.magnitudes(clean) + FLOOR).sqrt()
    return 1 + roots / roots.mean(dim=(1, 2), keepdim=True)
