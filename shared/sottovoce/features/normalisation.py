"""Public normalisation constants of features: fitted on synthetic music, so they reveal nothing about a catalogue."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from sottovoce.errors import ConfigurationError
from sottovoce.features.spec import FeatureSpec, View

CLIP = 4.0
"""Bound of normalised numbers, ±CLIP, so that an outlier does not outweigh a thousand other recordings."""

CONSTANTS = "constants.safetensors"
SPECTROGRAM_CONSTANTS = "spectrogram.safetensors"
_NAMES = ("summary_mean", "summary_std", "log_mel_mean", "log_mel_std")
_SPECTROGRAM_NAMES = ("spectrogram_mean", "spectrogram_std")


@dataclass(frozen=True)
class Normalisation:
    """Means and deviations of the summary and log-mel views.

    Args:
        summary_mean: mean of each dimension, `[D]`, float32.
        summary_std: deviation of each dimension, positive.
        log_mel_mean: mean of each band in dB, `[n_mels]`, float32.
        log_mel_std: deviation of each band, positive.
    """

    summary_mean: Tensor
    summary_std: Tensor
    log_mel_mean: Tensor
    log_mel_std: Tensor

    def __post_init__(self) -> None:
        _check(self.summary_mean, self.summary_std)
        _check(self.log_mel_mean, self.log_mel_std)

    def summary(self, values: Tensor) -> Tensor:
        """Summary vectors `[segments, D]`, normalised and clipped."""
        return _normalised(values, self.summary_mean, self.summary_std)

    def log_mel(self, values: Tensor) -> Tensor:
        """Log-mel segments `[segments, n_mels, frames]` in dB, normalised and clipped."""
        return _normalised(values, self.log_mel_mean[:, None], self.log_mel_std[:, None])

    def to_bytes(self) -> bytes:
        """The constants as safetensors; equal constants give equal bytes."""
        return save({name: getattr(self, name).contiguous() for name in _NAMES})

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of `to_bytes()`, which `FeatureSpec.normalisation` names."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


@dataclass(frozen=True)
class SpectrogramNormalisation:
    """Mean and deviation of each band of a spectrogram.

    Args:
        mean: mean of each band in dB, `[n_mels]`, float32.
        std: deviation of each band, positive.
    """

    mean: Tensor
    std: Tensor

    def __post_init__(self) -> None:
        _check(self.mean, self.std)

    def spectrogram(self, levels: Tensor) -> Tensor:
        """Spectrograms `[segments, n_mels, frames]` in dB, normalised and clipped."""
        return _normalised(levels, self.mean[:, None], self.std[:, None])

    def decibels(self, values: Tensor) -> Tensor:
        """Denormalise spectrograms `[…, n_mels, frames]` to dB: the inverse of `spectrogram`."""
        return values * self.std[:, None] + self.mean[:, None]

    def to_bytes(self) -> bytes:
        """The constants as safetensors; equal constants give equal bytes."""
        tensors = (self.mean.contiguous(), self.std.contiguous())
        return save(dict(zip(_SPECTROGRAM_NAMES, tensors, strict=True)))

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of `to_bytes()`, which `FeatureSpec.normalisation` names."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


Constants = Normalisation | SpectrogramNormalisation
"""Normalisation constants; the views of a spec determine which kind."""


def _check(mean: Tensor, std: Tensor) -> None:
    if mean.ndim != 1 or mean.shape != std.shape or mean.dtype != torch.float32 or std.dtype != torch.float32:
        raise ConfigurationError("Normalisation constants have the wrong shape or type.")
    if not (torch.isfinite(mean).all() and torch.isfinite(std).all() and (std > 0).all()):
        raise ConfigurationError("Normalisation constants are not finite, or a deviation is not positive.")


def _normalised(values: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    if values.shape[1] != len(mean):
        raise ConfigurationError("These normalisation constants belong to another feature spec.")
    return ((values - mean) / std).clamp(-CLIP, CLIP)


def load_normalisation(data: bytes) -> Constants:
    """Read constants from the bytes of `to_bytes`, for example from a release.

    Raises:
        ConfigurationError: the bytes are not such constants.
    """
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError):
        raise ConfigurationError("Normalisation constants are damaged.") from None
    if set(tensors) == set(_SPECTROGRAM_NAMES):
        return SpectrogramNormalisation(*(tensors[name] for name in _SPECTROGRAM_NAMES))
    if set(tensors) != set(_NAMES):
        raise ConfigurationError("Normalisation constants have missing or unknown parts.")
    return Normalisation(**tensors)


@lru_cache(maxsize=2)
def shipped(view: View = View.SUMMARY) -> Constants:
    """The constants shipped with this package for the views computed together with this one."""
    return load_normalisation(_shipped_bytes(view))


def shipped_digest(view: View = View.SUMMARY) -> str:
    """SHA-256 (hex) of the constants shipped with this package."""
    return hashlib.sha256(_shipped_bytes(view)).hexdigest()


@lru_cache(maxsize=3)
def _shipped_bytes(view: View) -> bytes:
    name = SPECTROGRAM_CONSTANTS if view is View.SPECTROGRAM else CONSTANTS
    return files("sottovoce.features").joinpath(name).read_bytes()


def constants_bytes(spec: FeatureSpec) -> bytes:
    """The shipped constants as bytes, for a release with this spec.

    Raises:
        ConfigurationError: the spec names other constants.
    """
    if spec.normalisation != shipped_digest(spec.views[0]):
        raise ConfigurationError("The feature spec names normalisation constants other than the shipped ones.")
    return _shipped_bytes(spec.views[0])


def for_spec(spec: FeatureSpec, given: Constants | None) -> Constants | None:
    """The constants that a spec names, given or shipped; None for a spec that names none.

    Raises:
        ConfigurationError: neither matches the spec.
    """
    if not spec.normalisation:
        return None
    if given is not None and given.digest == spec.normalisation:
        return given
    if given is None and shipped_digest(spec.views[0]) == spec.normalisation:
        return shipped(spec.views[0])
    raise ConfigurationError(
        "No available normalisation constants match the feature spec.",
        hint="A release contains its own; for a new run, use the default spec.",
    )
