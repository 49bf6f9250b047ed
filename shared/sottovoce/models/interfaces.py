"""The two interfaces behind every model: a task defines what is measured, a family what is trained."""

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
    """A family's defaults for a run's configuration; a run may override each.

    Args:
        sample_rate: probability that a round uses a unit, with distributed noise.
    """

    sample_rate: float = 1.0


@dataclass(frozen=True)
class Batch:
    """Some tracks as inputs of a model.

    Args:
        features: `[tracks, segments, *shape of the family's view]`, float32.
        targets: `[tracks]`, class indices, int64.
        mask: `[tracks, segments]`, bool; False for padding of a track with fewer segments.
    """

    features: "Tensor"
    targets: "Tensor"
    mask: "Tensor"


class Task(Protocol):
    """What a task measures on held-out tracks; all of it is summed over labels within the masked vector."""

    name: str

    def counters(self, classes: int) -> tuple[str, ...]:
        """Names of the counters, in their order in the vector."""
        ...

    def measure(self, family: "Family", model: "nn.Module", batch: Batch, classes: int) -> NDArray[np.int64]:
        """This batch's contribution to each counter, `[len(counters)]`; real numbers (a loss) count in whole steps.

        A label measures one track at a time: random draws are the same in each batch, and go by the place within it.
        """
        ...

    def norm_squared(self, classes: int) -> int:
        """Largest squared L2 norm of one track's contribution to the counters, which scales the noise."""
        ...

    def metrics(
        self, sums: NDArray[np.int64], classes: tuple[str, ...], noise_std: float = 0.0
    ) -> Mapping[str, object]:
        """Figures from summed counters, as plain JSON values.

        Args:
            sums: summed counters; may be negative with noise.
            classes: the agreed styles.
            noise_std: standard deviation of the noise on each counter; if set, `noise` gives that of the figures.
        """
        ...


class Family(Protocol):
    """A kind of model. A new family is one module that defines one of these."""

    task: str
    name: str
    view: View
    distributed_noise: bool = True
    """Whether distributed noise is possible; False for a family that uses each step's result locally."""

    def recipe(self, *, private: bool, distributed: bool = False) -> TrainingRecipe:
        """Defaults for a run with or without privacy, and with local or distributed noise."""
        ...

    def fine_tuning_recipe(self, *, private: bool, distributed: bool = False) -> TrainingRecipe:
        """Defaults for a run that starts from trained parameters, public ones or a release's."""
        return self.recipe(private=private, distributed=distributed)

    def build(self, spec: FeatureSpec, classes: int) -> "nn.Module":
        """The model with initial parameters from torch's global generator, which the caller seeds.

        Opacus must support per-example gradients of `losses`, and examples must not depend on each other.
        """
        ...

    def losses(
        self, model: "nn.Module", features: "Tensor", targets: "Tensor", generator: "torch.Generator"
    ) -> "Tensor":
        """The training loss of each example, `[batch]`: the only way in which private audio affects a model.

        Each example has its own loss, with its own augmentation, corruption or latent noise, so that clipping its
        gradient bounds its influence.

        Args:
            model: from `build`, possibly with Opacus' hooks.
            features: `[batch, *shape of the view]`, float32, normalised.
            targets: class indices, `[batch]`.
            generator: source of every random draw.
        """
        ...

    def private_parameters(self, model: "nn.Module") -> "Mapping[str, nn.Parameter]":
        """Trainable parameters that private audio affects, by name, sorted; others get no noise."""
        return trainable(model)

    def after_step(self, model: "nn.Module", randomness: Randomness) -> None:
        """Update other parameters after each step of the private ones, which by then include their noise.

        This is post-processing: it sees the model and random numbers, but no audio.
        """
        del model, randomness  # most families need nothing here

    def follow(
        self, model: "nn.Module", features: "Tensor", targets: "Tensor", generator: "torch.Generator"
    ) -> "Tensor":
        """Scalar loss of all non-private parameters on public audio, for learning a public start.

        Not used in runs. Arguments as for `losses`; by default its mean.
        """
        return self.losses(model, features, targets, generator).mean()


class Classifier(Family, Protocol):
    """A family of models from `[batch, *shape of the view]` to scores `[batch, classes]`."""

    def augment(self, features: "Tensor", generator: "torch.Generator") -> "Tensor":
        """Augmentation of `[batch, *shape]` during training, each example independently, as clipping requires."""
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
    """A family of models that generate spectrograms of a class."""

    def sample(
        self, model: "nn.Module", targets: "Tensor", generator: "torch.Generator", *, temperature: float = 1.0
    ) -> "Iterator[Tensor]":
        """An endless sequence of pieces of normalised spectrograms, `[count, n_mels, frames]` each.

        Pieces join seamlessly; the family chooses their number of frames.

        Args:
            model: with its parameters loaded, in evaluation mode.
            targets: class index of each spectrogram, `[count]`.
            generator: source of every draw: equal seeds give equal spectrograms.
            temperature: 1 samples as trained; lower values favour likelier music, 0 is greedy.
        """
        ...


class Editor(Family, Protocol):
    """A family of models that restore spectrograms."""

    def restore(self, model: "nn.Module", values: "Tensor", missing: "Tensor", noisy: "Tensor") -> "Tensor":
        """Fill missing frames and remove noise: normalised spectrograms `[count, n_mels, frames]`.

        Args:
            model: with its parameters loaded, in evaluation mode.
            values: normalised, `[count, n_mels, frames]`; the content of missing frames is ignored.
            missing: True for missing frames, bool, `[count, frames]`.
            noisy: whether to remove noise, bool, `[count]`; otherwise known frames stay unchanged.
        """
        ...
