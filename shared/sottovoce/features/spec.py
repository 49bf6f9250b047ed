"""The feature spec: a declared, versioned way from audio to numbers, included in every release."""

import math
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from sottovoce.canonical import digest
from sottovoce.errors import ConfigurationError


class View(StrEnum):
    """Kind of features of a segment that a model reads."""

    SUMMARY = "summary"
    LOG_MEL = "log-mel"
    SPECTROGRAM = "spectrogram"


FIRST_OF_SPECTROGRAMS = 1000
"""Smallest version number of the code that computes spectrograms; lower ones are for summary and log-mel."""


@dataclass(frozen=True)
class FeatureSpec:
    """How segments and features are computed. Equal specs give equal numbers on every machine.

    Args:
        version: version of the extraction code; raised whenever the same audio would give other numbers.
        sample_rate: Hz, after resampling to mono.
        segment_seconds: length of a segment.
        hop_seconds: from the start of one segment to the next.
        max_segments: largest number of segments of a track, spread evenly over it.
        n_fft: window length in samples (Hann).
        hop_length: samples between frames.
        n_mels: mel bands of the log-mel view, or of the spectrogram.
        f_min: lowest mel frequency, Hz.
        f_max: highest mel frequency, Hz.
        loudness: RMS level in dBFS that each track is brought to.
        compress: whether the dynamic range is compressed afterwards.
        normalisation: SHA-256 (hex) of the public constants that normalise its views.
    """

    version: int = 2
    sample_rate: int = 22_050
    segment_seconds: float = 4.0
    hop_seconds: float = 4.0
    max_segments: int = 32
    n_fft: int = 1024
    hop_length: int = 512
    n_mels: int = 96
    f_min: float = 30.0
    f_max: float = 11_000.0
    loudness: float = -20.0
    compress: bool = False
    normalisation: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.type is float:
                object.__setattr__(self, field.name, float(getattr(self, field.name)))
        for name in (
            "version",
            "sample_rate",
            "segment_seconds",
            "hop_seconds",
            "max_segments",
            "hop_length",
            "n_mels",
        ):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"Expected {name}={getattr(self, name)} > 0.")
        if not 0 <= self.f_min < self.f_max <= self.sample_rate / 2:
            raise ConfigurationError(
                f"Expected 0 <= f_min={self.f_min} < f_max={self.f_max} <= {self.sample_rate / 2}."
            )
        if not math.isfinite(self.loudness) or self.loudness > 0:
            raise ConfigurationError(f"Expected loudness={self.loudness} <= 0 dBFS.")

    @property
    def segment_samples(self) -> int:
        """Number of samples of a segment."""
        return round(self.segment_seconds * self.sample_rate)

    @property
    def frames(self) -> int:
        """Number of frames of a segment's log-mel view or spectrogram (centred windows)."""
        return 1 + self.segment_samples // self.hop_length

    @property
    def views(self) -> tuple[View, ...]:
        """The views of the spec: an invertible spectrogram, or the two views for recognition."""
        spectrograms = self.version >= FIRST_OF_SPECTROGRAMS
        return (View.SPECTROGRAM,) if spectrograms else (View.SUMMARY, View.LOG_MEL)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the spec, part of cache keys and named in every run."""
        return digest(self).hex()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "FeatureSpec":
        """Read a spec from a release or a configuration.

        Raises:
            ConfigurationError: a field is missing, unknown, of the wrong type or out of range.
        """
        expected = {field.name: field.type for field in fields(cls)}
        if set(values) != set(expected):
            raise ConfigurationError("A feature spec has missing or unknown fields.")
        for name, kind in expected.items():
            allowed: tuple[type, ...] = (int, float) if kind is float else (kind,)  # type: ignore[assignment]
            if type(values[name]) not in allowed:
                raise ConfigurationError(f"The field '{name}' of a feature spec has the wrong type.")
        return cls(**values)
