"""Per-unit gradients: one for each sampled track (over all its segments), clipped, and summed."""

import warnings
from collections.abc import Sequence
from typing import Any, cast

import torch
from opacus.grad_sample import GradSampleHooks
from torch import Tensor, nn

from sottovoce.errors import ConfigurationError, Diverged
from sottovoce.models.interfaces import Batch, Family, trainable
from sottovoce.models.parameters import limit

MEMORY = 64 << 20
"""Memory for per-segment gradients, bytes."""
ROUNDING = 1e-6
"""Constant added to a norm before dividing by it, so that rounding cannot make a clipped vector exceed the clip."""
MARGIN = 4e-6
"""Relative margin for the same purpose, for norms computed in float32."""


class UnitHooks(GradSampleHooks):  # type: ignore[misc]
    """Opacus' hooks, with the gradients of a unit's segments summed inside each linear layer.

    One product per unit computes the sum, so that the segments' own gradients never take memory.

    Args:
        model: the model to put hooks on; losses of all examples are summed.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model, loss_reduction="sum")
        self.mask = torch.empty(0, 0, dtype=torch.bool)
        """Which segments of the present batch are no padding, bool `[rows, segments]`."""

    def rearrange_grad_samples(self, *, module: nn.Module, **of_layer: Any) -> tuple[list[Tensor], Tensor]:
        """Inputs of a layer and gradients of its outputs, `[examples, …]`; of a linear layer `[rows, …]`.

        Padded segments are zeros there, even where the model overflows.
        """
        inputs, outputs = super().rearrange_grad_samples(module=module, **of_layer)
        if type(module) is nn.Linear and len(outputs) == self.mask.numel():
            inputs, outputs = [self._by_unit(value) for value in inputs], self._by_unit(outputs)
            module.max_batch_len = len(self.mask)  # type: ignore[assignment]
        return inputs, outputs

    def _by_unit(self, values: Tensor) -> Tensor:
        padding = ~self.mask.view(-1, *[1] * (values.dim() - 1))
        return values.masked_fill(padding, 0.0).view(len(self.mask), -1, values.shape[-1])


class UnitGradients:
    """Sums of one model's per-unit gradients; a unit is one row of a batch.

    A unit's gradient is that of the mean loss over its segments, so it is summed over them before clipping: a track's
    influence is that of one clipped vector, for any number of segments.

    Args:
        family: the model's family, which defines the loss.
        model: model whose private parameters the gradients are for; hooks stay on it.
        clip: L2 bound on one unit's gradient, or None for no clipping.
        prefixes: prefixes of the names of trained parameters, as in `RunConfiguration.trainable`; all others become
            untrainable.

    Raises:
        ConfigurationError: no parameter's name has one of the prefixes.
    """

    def __init__(self, family: Family, model: nn.Module, clip: float | None, prefixes: Sequence[str] = ()) -> None:
        self._family = family
        self._model = model.train()
        self.moved = limit(model, prefixes)
        """Mask of the trained numbers within the model's original flat vector, bool; `P` counts only trained ones."""
        private = family.private_parameters(self._model)
        self._kept = torch.cat(
            [torch.full((value.numel(),), name in private) for name, value in trainable(model).items()]
        )
        self._parameters = list(private.values())
        self._clip = clip
        self._hooks = None if clip is None else UnitHooks(model)

    @property
    def size(self) -> int:
        """Length P of a gradient: number of trained parameters."""
        return len(self._kept)

    @property
    def private(self) -> Tensor:
        """Mask of the numbers that private audio affects, bool `[P]`; all others have gradients of 0."""
        return self._kept

    def units_at_once(self, segments: int) -> int:
        """Number of units with this many segments whose gradients fit in `MEMORY`, at least 1."""
        return max(1, MEMORY // (4 * segments * self.moved.size))

    def sum(self, batch: Batch, weights: Tensor, generator: torch.Generator) -> Tensor:
        """The summed (and clipped) gradients of a batch's units, `[P]`, in the order of the flat vector.

        Args:
            batch: units as rows.
            weights: weight of each row's loss, `[rows]`; applied before clipping.
            generator: source of random augmentation.

        Raises:
            Diverged: a gradient is not finite, in a run without privacy. With a clip, a unit whose gradient is not
                finite counts as zero: failures of rounds must not reveal their content.
        """
        self._backward(batch, weights, generator)
        if self._clip is not None:
            gradients, norms = self._per_unit(batch.mask)
            factors = _factors(norms, self._clip)
            return self._placed(torch.cat([factors @ gradient for gradient in gradients]))
        total = self._taken()
        if not torch.isfinite(total).all():
            raise Diverged("A gradient is not finite.", hint="Lower the learning rate, or look for broken features.")
        return self._placed(total)

    def rows(self, batch: Batch, weights: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Each unit's clipped gradient, `[rows, P]`, and its norm before clipping, `[rows]`.

        Args:
            batch: units as rows.
            weights: weight of each row's loss, `[rows]`; applied before clipping.
            generator: source of random augmentation.

        Raises:
            ConfigurationError: there is no clip.
        """
        if self._clip is None:
            raise ConfigurationError("Per-unit gradients are available with a clip only.")
        self._backward(batch, weights, generator)
        gradients, norms = self._per_unit(batch.mask)
        return self._placed(torch.cat(gradients, dim=1) * _factors(norms, self._clip)[:, None]), norms

    def _placed(self, gradients: Tensor) -> Tensor:
        """Gradients of the private parameters, `[…, private]`, expanded to all trained ones, `[…, P]`."""
        if gradients.shape[-1] == self.size:
            return gradients
        whole = torch.zeros(*gradients.shape[:-1], self.size)
        whole[..., self._kept] = gradients
        return whole

    def _backward(self, batch: Batch, weights: Tensor, generator: torch.Generator) -> None:
        if self._hooks is not None:
            self._hooks.mask = batch.mask
        losses = self._losses(batch, weights, generator)
        with warnings.catch_warnings():
            # The first layer's input is data and needs no gradient; its hook warns each time.
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            torch.autograd.backward(losses.sum())

    def _losses(self, batch: Batch, weights: Tensor, generator: torch.Generator) -> Tensor:
        """Each segment's contribution to its unit's loss, `[rows · segments]`; 0 for padding."""
        segments = batch.mask.shape[1]
        targets = batch.targets.repeat_interleave(segments)
        share = (weights / batch.mask.sum(dim=1))[:, None] * batch.mask
        losses = self._family.losses(self._model, batch.features.flatten(0, 1), targets, generator)
        return losses * share.flatten().to(torch.float32)

    def _per_unit(self, mask: Tensor) -> tuple[list[Tensor], Tensor]:
        """Each unit's gradient, `[rows, size]` per parameter, and its norm, `[rows]`."""
        gradients = [self._summed(_grad_sample(value), mask) for value in self._parameters]
        norms = torch.stack([torch.linalg.vector_norm(gradient, dim=1) for gradient in gradients]).norm(dim=0)
        broken = ~torch.isfinite(norms)
        for gradient in gradients:
            gradient[broken] = 0.0  # not by a factor: 0 · inf is NaN
        norms[broken] = 0.0
        for value in self._parameters:
            value.grad = None
            value.grad_sample = None  # type: ignore[attr-defined]
        return gradients, norms

    def _summed(self, gradients: Tensor, mask: Tensor) -> Tensor:
        """A parameter's gradients, `[rows, …]` or `[rows · segments, …]`, summed over segments, `[rows, size]`."""
        rows, segments = mask.shape
        if len(gradients) == rows * segments:
            # Padding has no loss, but if the model overflows, even a gradient of 0 becomes NaN, and a row is padded
            # only because another track has more segments: padding must not count.
            gradients[~mask.flatten()] = 0.0
            gradients = gradients.view(rows, segments, -1).sum(dim=1)
        return gradients.view(rows, -1)

    def _taken(self) -> Tensor:
        total = torch.cat([value.grad.flatten() for value in self._parameters if value.grad is not None])
        for value in self._parameters:
            value.grad = None
        return total


def _factors(norms: Tensor, clip: float) -> Tensor:
    """Scaling factor of each vector. The margin is proportional to the norm, like float32's rounding."""
    return (clip / (norms * (1 + MARGIN) + ROUNDING)).clamp(max=1.0)


def _grad_sample(value: nn.Parameter) -> Tensor:
    return cast("Tensor", value.grad_sample)  # type: ignore[attr-defined]
