"""The two small interfaces behind every model: a task says what is measured, a family says what is trained."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from sottovoce.features.spec import FeatureSpec, View
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import Optimisation

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def trainable(model: "nn.Module") -> "dict[str, nn.Parameter]":
    """The trainable parameters by name, in the order of the flat vector."""
    return {name: value for name, value in sorted(model.named_parameters()) if value.requires_grad}


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe(Optimisation):
    """A family's defaults for a run's knobs; a run may override each.

    Args:
        sample_rate: probability that a round uses a unit, where noise is distributed.
    """

    sample_rate: float = 1.0


@dataclass(frozen=True)
class Batch:
    """Some tracks as a model sees them.

    Args:
        features: `[tracks, segments, *shape of the family's view]`, float32.
        targets: `[tracks]`, class numbers, int64.
        mask: `[tracks, segments]`, bool; False where a track has fewer segments.
    """

    features: "Tensor"
    targets: "Tensor"
    mask: "Tensor"


class Task(Protocol):
    """What a task measures on held-out tracks. All of it is summed over labels inside the masked vector."""

    name: str

    def counters(self, classes: int) -> tuple[str, ...]:
        """Names of the whole-number sums, in their order in the vector."""
        ...

    def measure(self, family: "Family", model: "nn.Module", batch: Batch, classes: int) -> NDArray[np.int64]:
        """This batch's part of each counter, `[len(counters)]`; a real number (a loss) counts in whole steps."""
        ...

    def norm_squared(self, classes: int) -> int:
        """The largest squared L2 norm of what one track adds to the counters, which noise is measured by."""
        ...

    def metrics(
        self, sums: NDArray[np.int64], classes: tuple[str, ...], noise_std: float = 0.0
    ) -> Mapping[str, object]:
        """Figures from the summed counters, as plain JSON values.

        Args:
            sums: of the counters; with noise, they may be negative.
            classes: the agreed styles.
            noise_std: standard deviation of the noise on each counter; `noise` then gives that of the figures.
        """
        ...


class Family(Protocol):
    """A kind of model. A new one is one file that registers one of these."""

    task: str
    name: str
    view: View
    distributed_noise: bool = True
    """Whether labels may share their noise. A family that does more with a step than add it up refuses."""

    def recipe(self, *, private: bool, distributed: bool = False) -> TrainingRecipe:
        """Defaults for a run with or without privacy; with it, where each label adds its own noise or all share one."""
        ...

    def fine_tuning_recipe(self, *, private: bool, distributed: bool = False) -> TrainingRecipe:
        """`recipe` for a run that goes on from parameters that know such data, public ones or a release's."""
        return self.recipe(private=private, distributed=distributed)

    def build(self, spec: FeatureSpec, classes: int) -> "nn.Module":
        """The model with its first parameters, drawn from torch's global generator (the caller seeds it).

        Opacus can take per-example gradients of `losses`, and no example's output depends on another one.
        """
        ...

    def losses(
        self, model: "nn.Module", features: "Tensor", targets: "Tensor", generator: "torch.Generator"
    ) -> "Tensor":
        """The training loss of each example, `[batch]`: all that private audio ever does to a model goes through it.

        Each example's loss is its own, with its own augmentation, corruption or latent noise, so that clipping its
        gradient bounds its influence.

        Args:
            model: what `build` made, or the same with Opacus' hooks.
            features: `[batch, *shape of the view]`, float32, normalised.
            targets: class numbers, `[batch]`.
            generator: of every random draw.
        """
        ...

    def private_parameters(self, model: "nn.Module") -> "Mapping[str, nn.Parameter]":
        """Those of the trainable parameters that private audio moves, by name, sorted; others get no noise."""
        return trainable(model)

    def after_step(self, model: "nn.Module", randomness: Randomness) -> None:
        """What follows each step of the private parameters, which by then hold their noise.

        It is post-processing: it sees the model and random numbers, and no audio.
        """
        del model, randomness  # most families are done with a step when it is taken

    def follow(
        self, model: "nn.Module", features: "Tensor", targets: "Tensor", generator: "torch.Generator"
    ) -> "Tensor":
        """The loss, one number, of all parameters that are not private, where a start is learned from public audio.

        No run asks for it. Arguments as for `losses`, whose mean it is by default.
        """
        return self.losses(model, features, targets, generator).mean()


class Classifier(Family, Protocol):
    """A family of models from `[batch, *shape of the view]` to scores `[batch, classes]`."""

    def augment(self, features: "Tensor", generator: "torch.Generator") -> "Tensor":
        """Training-time change of `[batch, *shape]`: each example by itself, so that per-track clipping still holds."""
        ...

    def loss(self, outputs: "Tensor", targets: "Tensor") -> "Tensor":
        """Loss of each example, `[batch]`, from outputs `[batch, classes]` and targets `[batch]`."""
        ...

    def probabilities(self, outputs: "Tensor") -> "Tensor":
        """Class probabilities `[batch, classes]` from outputs `[batch, classes]`."""
        ...

    def losses(
        self, model: "nn.Module", features: "Tensor", targets: "Tensor", generator: "torch.Generator"
    ) -> "Tensor":
        """The loss of the augmented examples."""
        return self.loss(model(self.augment(features, generator)), targets)


class Generator(Family, Protocol):
    """A family of models that make spectrograms of a class."""

    def sample(
        self, model: "nn.Module", targets: "Tensor", generator: "torch.Generator", *, temperature: float = 1.0
    ) -> "Iterator[Tensor]":
        """Piece after piece of new spectrograms, for ever, normalised: `[count, n_mels, frames]` each.

        Pieces follow one another without a seam; how many frames each has is the family's choice.

        Args:
            model: with its parameters loaded, in evaluation mode.
            targets: the class of each, `[count]`.
            generator: of every draw, so that equal seeds give equal spectrograms.
            temperature: 1 draws as trained; less keeps to what is likelier, 0 to the likeliest.
        """
        ...


class Editor(Family, Protocol):
    """A family of models that make spectrograms whole and clean."""

    def restore(self, model: "nn.Module", values: "Tensor", missing: "Tensor", noisy: "Tensor") -> "Tensor":
        """The same spectrograms with nothing missing and without noise, normalised: `[count, n_mels, frames]`.

        Args:
            model: with its parameters loaded, in evaluation mode.
            values: normalised, `[count, n_mels, frames]`; what missing frames hold makes no difference.
            missing: which frames are, bool, `[count, frames]`.
            noisy: whether there is noise to take off, bool, `[count]`; without, known frames come back as they are.
        """
        ...
