"""A model's trainable parameters as one flat vector, the only form in which they are exchanged.

Parameters are sorted by name, each in row-major order, so the layout follows from the names and shapes in a release
alone. Training changes no other state of a model (no running statistics).
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import nn

from sottovoce.errors import ConfigurationError
from sottovoce.features.spec import FeatureSpec
from sottovoce.models.interfaces import Family, trainable


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shape of each trainable parameter, in the order of the flat vector."""
    return {name: tuple(value.shape) for name, value in trainable(model).items()}


def count(model: nn.Module) -> int:
    """Number of trainable parameters: the length P of the flat vector."""
    return sum(value.numel() for value in trainable(model).values())


def flatten(model: nn.Module) -> NDArray[np.float32]:
    """A copy of all trainable parameters as a flat vector: `[P]`."""
    with torch.no_grad():
        parts = [value.reshape(-1) for value in trainable(model).values()]
        flat: NDArray[np.float32] = torch.cat(parts).numpy()
    return flat


def load(model: nn.Module, vector: NDArray[np.float32]) -> None:
    """Write a flat vector `[P]` into the model.

    Raises:
        ConfigurationError: it has another length, or contains a number that is not finite.
    """
    wanted = trainable(model)
    expected = sum(value.numel() for value in wanted.values())
    if vector.shape != (expected,):
        raise ConfigurationError(f"The model has {expected} parameters, but {vector.size} were given.")
    if not np.isfinite(vector).all():
        raise ConfigurationError("The model's parameters contain a number that is not finite.")
    # Copied first: the caller's array may be read-only, and must not change with the model.
    source = torch.from_numpy(np.array(vector, dtype=np.float32))
    parts = torch.split(source, [value.numel() for value in wanted.values()])
    with torch.no_grad():
        for value, part in zip(wanted.values(), parts, strict=True):
            value.copy_(part.view_as(value))


def beginning(names: Iterable[str], beginnings: Sequence[str]) -> set[str]:
    """The names that start with one of the prefixes.

    Raises:
        ConfigurationError: no name starts with one of them.
    """
    found = {start: {name for name in names if name.startswith(start)} for start in beginnings}
    for start, some in found.items():
        if not some:
            raise ConfigurationError(f"The model has no parameter whose name starts with '{start}'.")
    return set().union(*found.values())


def limit(model: nn.Module, beginnings: Sequence[str]) -> NDArray[np.bool_]:
    """Freeze all parameters but those with one of the prefixes (all if none is given); return `chosen` for them.

    Raises:
        ConfigurationError: no name starts with one of the prefixes.
    """
    found, named = chosen(shapes(model), beginnings), trainable(model)
    for name in named.keys() - _wanted(named, beginnings):
        named[name].requires_grad_(False)
    return found


def chosen(shapes: Mapping[str, tuple[int, ...]], beginnings: Sequence[str]) -> NDArray[np.bool_]:
    """Mask of the flat vector, bool `[P]`: True for parameters with one of the prefixes; all if none is given.

    Raises:
        ConfigurationError: no name starts with one of the prefixes.
    """
    wanted = _wanted(shapes, beginnings)
    return np.repeat([name in wanted for name in shapes], [math.prod(shape) for shape in shapes.values()])


def _wanted(names: Iterable[str], beginnings: Sequence[str]) -> set[str]:
    return beginning(names, beginnings) if beginnings else set(names)


def split(vector: NDArray[np.float32], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """Split a flat vector `[P]` into named arrays; `shapes` as returned by `shapes(model)`.

    Raises:
        ConfigurationError: the shapes do not add up to the vector's length.
    """
    sizes = [math.prod(shape) for shape in shapes.values()]
    if vector.shape != (sum(sizes),):
        raise ConfigurationError(f"The shapes have {sum(sizes)} parameters, but {vector.size} were given.")
    parts = np.split(vector, np.cumsum(sizes)[:-1])
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def file_of(vector: NDArray[np.float32], shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    """A flat vector `[P]` as a release's weights file (safetensors); equal vectors give equal bytes.

    Raises:
        ConfigurationError: as for `split`.
    """
    return save(split(vector, shapes))


def join(arrays: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Join named arrays to a flat vector `[P]`, the inverse of `split`."""
    return np.concatenate([np.asarray(arrays[name], dtype=np.float32).ravel() for name in sorted(arrays)])


def model_of(family: Family, spec: FeatureSpec, classes: int, vector: NDArray[np.float32]) -> nn.Module:
    """A family's model with the given parameters `[P]`, ready to predict.

    Raises:
        ConfigurationError: the vector does not fit the model.
    """
    model = fresh(family, spec, classes, seed=0)
    load(model, vector)
    return model.eval()


def initial(family: Family, spec: FeatureSpec, classes: int, seed: int) -> NDArray[np.float32]:
    """A family's initial parameters `[P]`, equal for equal seeds."""
    return flatten(fresh(family, spec, classes, seed))


def shapes_of(family: Family, spec: FeatureSpec, classes: int) -> dict[str, tuple[int, ...]]:
    """The shape of each trainable parameter of a family's models, in the order of the flat vector."""
    return shapes(fresh(family, spec, classes, seed=0))


def fresh(family: Family, spec: FeatureSpec, classes: int, seed: int) -> nn.Module:
    """A family's model with initial parameters; torch's global generator is left unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # without the traceback that torch keeps for a GPU
        return family.build(spec, classes)
