"""Features of a track's segments, in the views of a spec."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sottovoce.errors import ConfigurationError
from sottovoce.features import spectrogram
from sottovoce.features.descriptors import Descriptors
from sottovoce.features.harmony import harmony
from sottovoce.features.normalisation import (
    Constants,
    Normalisation,
    SpectrogramNormalisation,
    for_spec,
    shipped_digest,
)
from sottovoce.features.rhythm import rhythm
from sottovoce.features.segments import read_segments, segments
from sottovoce.features.spec import FeatureSpec, View
from sottovoce.features.spectra import Spectra, spectra
from sottovoce.features.timbre import timbre

VERSION = 2
"""Version of this code, as in `FeatureSpec.version`; raised whenever the same audio would give other numbers."""

_NAMING_SEED = 0
_FEW = 8  # segments that are described at a time, which bounds memory


@dataclass(frozen=True)
class Features:
    """A track's segments in each view of their spec, normalised.

    Args:
        views: `summary` as `[segments, len(summary_names(spec))]`, float32; `log-mel` and `spectrogram` as
            `[segments, n_mels, frames]`, float16.
    """

    views: Mapping[View, NDArray[np.floating]]

    def view(self, view: View) -> NDArray[np.floating]:
        """One of the views.

        Raises:
            ConfigurationError: the spec does not include the view.
        """
        if view not in self.views:
            raise ConfigurationError(f"The feature spec does not include the view '{view}'.")
        return self.views[view]

    @property
    def summary(self) -> NDArray[np.floating]:
        """The summary view."""
        return self.view(View.SUMMARY)

    @property
    def log_mel(self) -> NDArray[np.floating]:
        """The log-mel view."""
        return self.view(View.LOG_MEL)

    @property
    def spectrogram(self) -> NDArray[np.floating]:
        """The spectrogram view."""
        return self.view(View.SPECTROGRAM)


@cache
def default_spec(view: View = View.SUMMARY) -> FeatureSpec:
    """The default spec for runs on a view, normalised by the shipped constants."""
    if view is not View.SPECTROGRAM:
        return FeatureSpec(version=VERSION, normalisation=shipped_digest(view))
    return FeatureSpec(
        version=spectrogram.VERSION,
        n_fft=spectrogram.WINDOW,
        hop_length=spectrogram.HOP,
        n_mels=spectrogram.BANDS,
        normalisation=shipped_digest(view),
    )


def computable(spec: FeatureSpec) -> int | None:
    """None if this code can compute the spec's views; otherwise the version that it computes."""
    ours = spectrogram.VERSION if spec.views == (View.SPECTROGRAM,) else VERSION
    return None if spec.version == ours else ours


def extract_file(path: Path, spec: FeatureSpec, normalisation: Constants | None = None) -> Features:
    """The features of an audio file; see `extract`.

    Raises:
        AudioError: the file cannot be used; `reason` says why.
        ConfigurationError: the spec cannot be computed here.
    """
    constants = _constants(spec, normalisation)
    with torch.inference_mode(), _one_thread():
        return _features(read_segments(path, spec), spec, constants)


def extract(audio: Tensor, spec: FeatureSpec, normalisation: Constants | None = None) -> Features:
    """The features of a track; they depend only on the audio and the spec.

    Args:
        audio: mono samples at the spec's rate, `[samples]`, float32.
        spec: the feature spec; with an empty `normalisation`, features are not normalised.
        normalisation: the constants that the spec names, if they are not the shipped ones (a release contains its own).

    Raises:
        AudioError: the track is shorter than one segment.
        ConfigurationError: the spec needs another version of this code, or its constants are not available.
    """
    constants = _constants(spec, normalisation)
    with torch.inference_mode(), _one_thread():
        return _features(segments(audio, spec), spec, constants)


def _constants(spec: FeatureSpec, normalisation: Constants | None) -> Constants | None:
    other = computable(spec)
    if other is not None:
        raise ConfigurationError(
            f"Features of version {spec.version} are needed, but this code computes version {other}.",
            hint="Install the version of sottovoce with which the model was made.",
        )
    return for_spec(spec, normalisation)


def _features(levelled: Tensor, spec: FeatureSpec, constants: Constants | None) -> Features:
    """Features of a track's levelled segments, `[segments, samples]`."""
    parts = [_views(few, spec, constants) for few in torch.split(levelled, _FEW)]
    return Features({view: torch.cat([part[view] for part in parts]).numpy() for view in spec.views})


def _views(levelled: Tensor, spec: FeatureSpec, constants: Constants | None) -> Mapping[View, Tensor]:
    if spec.views == (View.SPECTROGRAM,):
        levels = spectrogram.decibels(levelled, spec)
        if isinstance(constants, SpectrogramNormalisation):
            levels = constants.spectrogram(levels)
        return {View.SPECTROGRAM: levels.to(torch.float16)}
    found = spectra(levelled, spec)
    summary, log_mel = torch.cat(list(_columns(_describe(found))), dim=1), found.mel
    if isinstance(constants, Normalisation):
        summary, log_mel = constants.summary(summary), constants.log_mel(log_mel)
    return {View.SUMMARY: summary, View.LOG_MEL: log_mel.to(torch.float16)}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run torch on one thread: the number of threads changes the order of sums, and so the last digits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _describe(found: Spectra) -> Descriptors:
    return {**timbre(found), **rhythm(found), **harmony(found)}


def _columns(descriptors: Descriptors) -> list[Tensor]:
    return [values[:, None] if values.ndim == 1 else values for values in descriptors.values()]


def segment_shape(spec: FeatureSpec, view: View) -> tuple[int, ...]:
    """The shape of one segment in a view."""
    return (len(summary_names(spec)),) if view is View.SUMMARY else (spec.n_mels, spec.frames)


def summary_names(spec: FeatureSpec) -> tuple[str, ...]:
    """Name of each dimension of the summary view, in order."""
    return _names(spec)


@lru_cache(maxsize=8)
def _names(spec: FeatureSpec) -> tuple[str, ...]:
    """Names from the features of a noise segment, so that names and numbers always agree."""
    noise = torch.rand(1, spec.segment_samples, generator=torch.Generator().manual_seed(_NAMING_SEED)) - 0.5
    with torch.inference_mode():
        descriptors = _describe(spectra(noise, spec))
    return tuple(
        name if values.ndim == 1 else f"{name}.{number}"
        for name, values in descriptors.items()
        for number in range(1 if values.ndim == 1 else values.shape[1])
    )
