"""`svm`: a linear support vector machine on summary vectors."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from sottovoce.features.spec import FeatureSpec, View
from sottovoce.models.interfaces import Classifier, TrainingRecipe

SHARPNESS = 4.0
"""Factor that turns margins into probabilities; among 1 to 12 it maximised the likelihood on synthetic tracks."""


CONSTANT = 0.2
"""Constant appended to every vector, whose weights are the bias. A constant of 1 would dominate each clipped gradient,
since all examples share it."""


class Linear(nn.Module):
    """An affine map of a summary vector normalised to length 1.

    All examples' gradients then have similar norms, and clipping removes little.
    """

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs + 1, classes, bias=False)
        nn.init.zeros_(self.linear.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Scores `[batch, classes]` of summary vectors `[batch, inputs]`."""
        return self.linear(functional.pad(functional.normalize(features, dim=1), (0, 1), value=CONSTANT))


class Svm(Classifier):
    """A linear SVM with the multi-class hinge loss of Weston & Watkins (ESANN 1999), as implemented in torch."""

    task = "style"
    name = "svm"
    view = View.SUMMARY

    def recipe(self, *, private: bool, distributed: bool = False) -> TrainingRecipe:
        """A clip well below the gradients' norm: their direction matters, and noise scales with the clip.

        All of a track's segments, up to a limit that bounds the work on long tracks, form its one gradient.
        """
        if distributed:  # at a given ε, few large steps over all labels are best
            return TrainingRecipe(
                rounds=60,
                local_steps=1,
                batch_size=1000,
                learning_rate=100.0,
                momentum=0.0,
                max_grad_norm=0.1,
                segments_per_track=8,
                update_clip=100.0,
                ring_bits=32,
                server_optimizer="fedadam",
                server_learning_rate=0.1,
            )
        return TrainingRecipe(
            rounds=30,
            local_steps=5,
            batch_size=480 if private else 120,
            learning_rate=80.0,
            momentum=0.0,
            max_grad_norm=0.1,
            segments_per_track=8,
            update_clip=40.0,
            ring_bits=24,
            server_optimizer="fedavg",
            server_learning_rate=1.0,
        )

    def build(self, spec: FeatureSpec, classes: int) -> nn.Module:
        """All zeros, so that nothing has to be unlearned."""
        from sottovoce.features.extract import summary_names

        return Linear(len(summary_names(spec)), classes)

    def augment(self, features: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """No augmentation: masking part of a summary vector would make it look like other music."""
        return features

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Hinge loss with margin 1, `[batch]`."""
        return functional.multi_margin_loss(outputs, targets, reduction="none")

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Softmax of sharpened scores, `[batch, classes]`."""
        return functional.softmax(SHARPNESS * outputs, dim=1)


FAMILY = Svm()
