"""Build a model from a verified release."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from sottovoce.audio.resampling import resampled
from sottovoce.errors import ConfigurationError, ReleaseError
from sottovoce.features.extract import Features, computable, extract, extract_file, summary_names
from sottovoce.features.normalisation import Constants, Normalisation, load_normalisation
from sottovoce.features.segments import starts
from sottovoce.features.spec import FeatureSpec, View
from sottovoce.federation.agreement import Agreement
from sottovoce.models import discovery
from sottovoce.models.interfaces import Classifier, Family
from sottovoce.models.parameters import join, model_of, shapes
from sottovoce.models.style import _prediction as prediction
from sottovoce.release.check import Say, check
from sottovoce.release.cosignatures import Cosigned
from sottovoce.release.manifest import Manifest


@dataclass(frozen=True)
class Release:
    """A release, ready to use.

    Args:
        manifest: the manifest.
        digest: SHA-256 (hex) of the manifest's bytes, which identifies the release in audio that it generates.
        vouched: whether the coordinator's key is the one that the caller trusts.
        family: the model's family.
        model: the model with its parameters, in evaluation mode.
        constants: normalisation constants of the features.
        cosigned: members of the given agreement that co-signed; None without an agreement.
    """

    manifest: Manifest
    digest: str
    vouched: bool
    family: Family
    model: nn.Module
    constants: Constants
    cosigned: Cosigned | None = None

    def probabilities(self, path: Path) -> NDArray[np.float32]:
        """The probability of each class for a whole track, `[classes]`, with the release's own feature spec.

        Raises:
            AudioError: the file cannot be used; `reason` says why.
            ReleaseError: the release does not recognise styles.
        """
        self.expect_task("style")
        return self._probabilities(extract_file(path, self.manifest.features, self.constants))

    def probabilities_over_time(self, path: Path) -> NDArray[np.float32]:
        """The probabilities of each segment of a track, `[segments, classes]`, whose mean is that of `probabilities`.

        Errors as for `probabilities`. `seconds_of` tells where the segments lie.
        """
        self.expect_task("style")
        features = extract_file(path, self.manifest.features, self.constants).view(self.family.view)
        return prediction.by_segment(cast(Classifier, self.family), self.model, features).numpy()

    def seconds_of(self, segments: int, seconds: float) -> list[tuple[float, float]]:
        """Start and end of each segment of a track, in seconds.

        Args:
            segments: number of segments of the track.
            seconds: its length.
        """
        spec = self.manifest.features
        firsts = starts(round(seconds * spec.sample_rate), spec)[:segments] / spec.sample_rate
        return [(first, first + spec.segment_seconds) for first in firsts.tolist()]

    def probabilities_of(self, audio: Tensor, sample_rate: int) -> NDArray[np.float32]:
        """Class probabilities for audio in memory, `[classes]`; errors as for `probabilities`.

        Args:
            audio: mono, `[samples]`, float32, full scale 1.
            sample_rate: the audio's sample rate, Hz.
        """
        self.expect_task("style")
        audio = resampled(audio, sample_rate, self.manifest.features.sample_rate)
        return self._probabilities(extract(audio, self.manifest.features, self.constants))

    def _probabilities(self, features: Features) -> NDArray[np.float32]:
        return prediction.probabilities(cast(Classifier, self.family), self.model, features.view(self.family.view))

    def expect_task(self, *tasks: str) -> None:
        """Refuse a release for another task.

        Raises:
            ReleaseError: its task is not among `tasks`.
        """
        if self.manifest.task not in tasks:
            raise ReleaseError(
                f"The release is for the task '{self.manifest.task}', but this needs "
                f"{' or '.join(repr(task) for task in tasks)}.",
                hint="`sottovoce release show` shows a release's task.",
            )


def load(
    directory: Path,
    trusted_key: bytes | None = None,
    *,
    agreement: Agreement | None = None,
    say: Say = lambda _: None,
) -> Release:
    """Verify a release and build its model; the arguments are those of `check`.

    Raises:
        ReleaseError: a check fails, or this version of Sottovoce does not know the task, family or features.
    """
    checked = check(directory, trusted_key, agreement=agreement, say=say)
    manifest = checked.manifest
    spec, classes = manifest.features, len(manifest.classes)
    other = computable(spec)
    if other is not None:
        raise ReleaseError(
            f"The release needs features of version {spec.version}; this Sottovoce computes version {other}.",
            hint=f"Install sottovoce {manifest.software.get('sottovoce', 'as it was then')}.",
        )
    try:
        constants = load_normalisation(checked.constants)
        family = discovery.family(manifest.task, manifest.family)
        model = model_of(family, spec, classes, join(checked.tensors))
    except ConfigurationError as error:
        raise ReleaseError(f"The release's model cannot be built: {error.message}", hint=error.hint) from None
    if not _fit(constants, spec):
        raise ReleaseError("The release's normalisation constants do not fit its feature spec.")
    if shapes(model) != dict(manifest.shapes):
        raise ReleaseError(f"The tensors do not have the shapes of the {manifest.task} model '{family.name}'.")
    say(f"The tensors are those of the {manifest.task} model '{family.name}' for {classes} classes.")
    return Release(
        manifest, hashlib.sha256(checked.raw).hexdigest(), checked.vouched, family, model, constants, checked.cosigned
    )


def _fit(constants: Constants, spec: FeatureSpec) -> bool:
    if isinstance(constants, Normalisation):
        sizes = (len(constants.summary_mean), len(constants.log_mel_mean))
        return View.SPECTROGRAM not in spec.views and sizes == (len(summary_names(spec)), spec.n_mels)
    return View.SPECTROGRAM in spec.views and len(constants.mean) == spec.n_mels
