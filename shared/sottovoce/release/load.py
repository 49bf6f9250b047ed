"""From a checked release to a model that predicts."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sottovoce import predict
from sottovoce.errors import ConfigurationError, ReleaseError
from sottovoce.features.spec import View
from sottovoce.models import registry
from sottovoce.models.base import Family
from sottovoce.models.parameters import join, model_of, shapes
from sottovoce.release.check import Say, check
from sottovoce.release.manifest import Manifest


@dataclass(frozen=True)
class Release:
    """A release, ready to use.

    Args:
        manifest: what it says of itself.
        vouched: whether its coordinator's key is one that the caller trusts.
        family: the kind of model.
        model: with its parameters, in evaluation mode.
    """

    manifest: Manifest
    vouched: bool
    family: Family
    model: nn.Module

    def probabilities(self, path: Path) -> NDArray[np.float32]:
        """The probability of each class for a whole track, `[classes]`, by the release's own feature spec.

        Raises:
            AudioError: the file cannot be used; `reason` says why.
        """
        from sottovoce.features.extract import extract_file

        features = extract_file(path, self.manifest.features)
        view = features.summary if self.family.view is View.SUMMARY else features.log_mel
        return predict.probabilities(self.family, self.model, view)


def load(directory: Path, trusted_key: bytes | None = None, *, say: Say = lambda _: None) -> Release:
    """Check a release and build its model; the arguments are those of `check`.

    Raises:
        ReleaseError: anything is not in order, or the model is of a task or family that this version does not know.
    """
    checked = check(directory, trusted_key, say=say)
    manifest = checked.manifest
    try:
        family = registry.family(manifest.task, manifest.family)
        _expect_shapes(family, manifest)
        model = model_of(family, manifest.features, len(manifest.classes), join(checked.tensors))
    except ConfigurationError as error:
        raise ReleaseError(f"The release's model cannot be built: {error.message}", hint=error.hint) from None
    say(f"The shapes are those of the {manifest.task} model '{family.name}' for {len(manifest.classes)} classes.")
    return Release(manifest, checked.vouched, family, model)


def _expect_shapes(family: Family, manifest: Manifest) -> None:
    """The model is laid out without memory first, so that a manifest cannot ask for more than its tensors hold."""
    with torch.device("meta"):
        expected = shapes(family.build(manifest.features, len(manifest.classes)))
    if expected != dict(manifest.shapes):
        raise ReleaseError(
            f"The tensors do not fit the {manifest.task} model '{manifest.family}' "
            f"for {len(manifest.classes)} classes, as this version of Sottovoce builds it."
        )
