"""A run's initial parameters: random, learned from public audio, or those of an earlier release.

Public audio costs no privacy. The parameters of an earlier release are covered by that release's own privacy statement,
if it has one: a run's privacy statement covers that run only, and its release names what it was initialised with.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from sottovoce.errors import ConfigurationError
from sottovoce.features.spec import FeatureSpec
from sottovoce.files import write_bytes
from sottovoce.models import discovery
from sottovoce.models.interfaces import Family
from sottovoce.models.parameters import initial, join, shapes_of
from sottovoce.run.configuration import NONE, PUBLIC, RunConfiguration

if TYPE_CHECKING:
    from sottovoce.release.check import Checked

SUFFIX = ".safetensors"
CLASSES = "classes"
FEATURES = "feature_spec"


@dataclass(frozen=True)
class InitialParameters:
    """Parameters of one family for a list of classes.

    Args:
        arrays: arrays by name, as from `sottovoce.models.parameters.split`.
        classes: the classes that the parameters know, in order.
        feature_spec: digest (hex) of the feature spec that they were trained with.
    """

    arrays: dict[str, NDArray[np.float32]]
    classes: tuple[str, ...]
    feature_spec: str

    def adapted(self, family: Family, spec: FeatureSpec, classes: Sequence[str]) -> NDArray[np.float32]:
        """The parameters for other classes, `[P]`; an unknown class gets the mean of all known ones.

        Raises:
            ConfigurationError: the parameters are not those of a model of this family.
        """
        wanted, axes = shapes_of(family, spec, len(classes)), _class_axes(family, spec)
        if not _fits(self, wanted, axes, len(classes)):
            raise ConfigurationError("The initial parameters belong to another model.")
        return join({name: _for_classes(self, name, axes.get(name), classes) for name in wanted})


def default_init(task: str, family: str) -> str:
    """`public` if parameters learned from public audio are shipped, otherwise `none`."""
    return PUBLIC if shipped(task, family).is_file() else NONE


def resolved_init(init: str | None) -> str | None:
    """The value of `--init` with an absolute path, for use in another process."""
    return init if init in (None, PUBLIC, NONE) else str(Path(init).resolve())


def initial_parameters(config: RunConfiguration, init: str | None = None) -> NDArray[np.float32]:
    """A run's first global parameters, `[P]`.

    Args:
        config: the run's configuration.
        init: `public`, `none` or the folder of a release of the same task and family; None for the default. Styles
            known by name keep their embeddings; others start from the mean of all.

    Raises:
        ConfigurationError: the start does not exist, or belongs to another model.
        ReleaseError: a check of the release fails.
    """
    init = default_init(config.task, config.family) if init is None else init
    family, spec = discovery.family(config.task, config.family), discovery.spec_of(config.task, config.family)
    drawn = initial(family, spec, len(config.classes), config.seed)
    if init == NONE:
        return drawn
    start = _public(config.task, config.family) if init == PUBLIC else _of_release(Path(init), config)
    if start.feature_spec != config.feature_spec:
        raise ConfigurationError("The initial parameters were trained with another feature spec.")
    return start.adapted(family, spec, config.classes)


def init_name(config: RunConfiguration, init: str | None = None) -> str:
    """How a release names its initial parameters: `public`, `none`, or the SHA-256 (hex) of another release's manifest.

    Arguments and errors are those of `initial_parameters`.
    """
    init = default_init(config.task, config.family) if init is None else init
    if init in (PUBLIC, NONE):
        return init
    return hashlib.sha256(_checked(Path(init), config).raw).hexdigest()


def _class_axes(family: Family, spec: FeatureSpec) -> dict[str, int]:
    """For each array, the axis whose size depends on the number of classes, if any; it is the last."""
    few, more = (shapes_of(family, spec, classes) for classes in (2, 3))
    return {
        name: next(axis for axis, sizes in enumerate(zip(few[name], more[name], strict=True)) if sizes[0] != sizes[1])
        for name in few
        if few[name] != more[name]
    }


def _fits(
    start: InitialParameters, wanted: Mapping[str, tuple[int, ...]], axes: Mapping[str, int], classes: int
) -> bool:
    """Whether the arrays match the wanted model, except for the number of classes."""
    if set(start.arrays) != set(wanted):
        return False
    for name, shape in wanted.items():
        expected = list(shape)
        if name in axes:
            expected[axes[name]] += len(start.classes) - classes
        if start.arrays[name].shape != tuple(expected):
            return False
    return True


def _for_classes(start: InitialParameters, name: str, axis: int | None, classes: Sequence[str]) -> NDArray[np.float32]:
    """One array, with the run's classes in place of the start's."""
    found = start.arrays[name]
    if axis is None:
        return found
    rest, known = np.split(found, [found.shape[axis] - len(start.classes)], axis=axis)
    mean = known.mean(axis=axis, keepdims=True)
    parts = [
        np.take(known, [start.classes.index(style)], axis=axis) if style in start.classes else mean for style in classes
    ]
    return np.concatenate([rest, *parts], axis=axis).astype(np.float32)


def shipped(task: str, family: str) -> Path:
    """Path of a family's weights learned from public audio in the package; it may not exist."""
    return Path(str(files("sottovoce.models"))) / task / f"{family}{SUFFIX}"


def write_public(path: Path, start: InitialParameters) -> None:
    """Write parameters in half precision, which is exact enough and keeps the package small."""
    arrays = {name: value.astype(np.float16) for name, value in start.arrays.items()}
    metadata = {CLASSES: json.dumps(start.classes), FEATURES: start.feature_spec}
    write_bytes(path, save(arrays, metadata))


@cache
def _public(task: str, family: str) -> InitialParameters:
    path = shipped(task, family)
    if not path.is_file():
        raise ConfigurationError(
            f"There are no public parameters for the family '{family}' of the task '{task}'.",
            hint=f"Start from '{NONE}', or from a release.",
        )
    return read_public(path)


def read_public(path: Path) -> InitialParameters:
    """Read parameters written by `write_public`."""
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
        arrays = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118 - not a dict
    return InitialParameters(arrays, tuple(json.loads(metadata[CLASSES])), metadata[FEATURES])


def _of_release(folder: Path, config: RunConfiguration) -> InitialParameters:
    checked = _checked(folder, config)
    return InitialParameters(dict(checked.tensors), checked.manifest.classes, checked.manifest.features.digest)


def _checked(folder: Path, config: RunConfiguration) -> "Checked":
    from sottovoce.release.check import check

    if not folder.is_dir():
        raise ConfigurationError(
            f"No release found at '{folder}'.",
            hint=f"Choose from {PUBLIC}, {NONE}, or name the folder of a release.",
        )
    checked = check(folder)
    manifest = checked.manifest
    if (manifest.task, manifest.family) != (config.task, config.family):
        raise ConfigurationError(
            f"A run of the model '{config.task} {config.family}' cannot start from a release of "
            f"'{manifest.task} {manifest.family}'."
        )
    return checked
