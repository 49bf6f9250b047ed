"""The type of descriptors, and statistics that several of them use."""

import torch
from torch import Tensor

Descriptors = dict[str, Tensor]
"""Names and values, each `[segments]` or `[segments, size]`."""


def spread(values: Tensor) -> Tensor:
    """Standard deviation along the last axis; 0 for a single value."""
    return values.std(dim=-1, correction=0)


def level_and_spread(name: str, values: Tensor) -> Descriptors:
    """Mean and standard deviation along the last axis."""
    return {f"{name}.mean": values.mean(dim=-1), f"{name}.std": spread(values)}


def logarithm(values: Tensor, floor: float) -> Tensor:
    """Natural logarithm with a floor, which makes positive, skewed values roughly Gaussian."""
    return torch.log(values + floor)


def share(values: Tensor) -> Tensor:
    """Values divided by their sum along the last axis; all zeros stay zeros."""
    return values / values.sum(dim=-1, keepdim=True).clamp(min=1e-9)
