"""`cnn`: a small convolutional network on log-mel segments."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from sottovoce.features.spec import FeatureSpec, View
from sottovoce.models.augmentation import spec_augment
from sottovoce.models.interfaces import Classifier, TrainingRecipe

CHANNELS = (16, 32, 32)
GROUPS = 4


def strided(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    """A convolution that halves both axes or more, GroupNorm, and tanh.

    Bounded activations train better under clipping (Papernot et al., AAAI 2021), GroupNorm keeps examples independent,
    and a stride in the first layer keeps per-example gradients affordable.
    """
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2),
        nn.GroupNorm(GROUPS, outputs),
        nn.Tanh(),
    )


class Convolutional(nn.Module):
    """Three strided convolutions, then mean and maximum over time per channel and frequency, then a linear map."""

    def __init__(self, n_mels: int, classes: int) -> None:
        super().__init__()
        first, second, third = CHANNELS
        self.body = nn.Sequential(
            strided(1, first, kernel=5, stride=4), strided(first, second, 3, 2), strided(second, third, 3, 2)
        )
        bands = self.body(torch.zeros(1, 1, n_mels, n_mels)).shape[2]
        self.head = nn.Linear(2 * third * bands, classes)
        nn.init.zeros_(self.head.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Scores `[batch, classes]` of log-mel segments `[batch, n_mels, frames]`."""
        maps = self.body(features[:, None])
        pooled = torch.cat([maps.mean(dim=3), maps.amax(dim=3)], dim=1)
        return self.head(pooled.flatten(1))


class Cnn(Classifier):
    """A convolutional network with cross-entropy loss."""

    task = "style"
    name = "cnn"
    view = View.LOG_MEL

    def recipe(self, *, private: bool, distributed: bool = False) -> TrainingRecipe:
        """Large batches and a small clip with privacy: the best signal at a given ε."""
        if distributed:  # at a given ε, few large steps over all labels are best
            return TrainingRecipe(
                rounds=60,
                local_steps=1,
                batch_size=1000,
                learning_rate=100.0,
                momentum=0.0,
                max_grad_norm=0.3,
                segments_per_track=1,
                update_clip=100.0,
                ring_bits=32,
                server_optimizer="fedadam",
                server_learning_rate=0.02,
            )
        return TrainingRecipe(
            rounds=30,
            local_steps=4 if private else 16,
            batch_size=480 if private else 64,
            learning_rate=10.0 if private else 0.2,
            momentum=0.0 if private else 0.9,
            max_grad_norm=0.3,
            segments_per_track=1,
            update_clip=20.0,
            ring_bits=24,
            server_optimizer="fedavg",
            server_learning_rate=1.0,
        )

    def build(self, spec: FeatureSpec, classes: int) -> nn.Module:
        """The network for segments `[n_mels, frames]`, for any number of frames."""
        return Convolutional(spec.n_mels, classes)

    def augment(self, features: Tensor, generator: torch.Generator) -> Tensor:
        """SpecAugment, each segment independently."""
        return spec_augment(features, generator)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy, `[batch]`."""
        return functional.cross_entropy(outputs, targets, reduction="none")

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Softmax, `[batch, classes]`."""
        return functional.softmax(outputs, dim=1)


FAMILY = Cnn()
