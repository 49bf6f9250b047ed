"""Segments of a track: where they lie, and the level that the whole track is brought to."""

import math
from bisect import bisect_left
from pathlib import Path

import torch
from torch import Tensor

from sottovoce.audio.decoding import expected_samples, probe, read, read_parts
from sottovoce.audio.reject_reason import RejectReason
from sottovoce.errors import AudioError
from sottovoce.features.spec import FeatureSpec
from sottovoce.features.spectra import FLOOR

_PEAK = 0.99
_BEFORE_DBFS, _KNEE_DBFS, _RATIO = -20.0, -40.0, 2.0
_ENVELOPE_SECONDS = 0.05
_PART = 1 << 22  # samples of a long track that are handled at a time, which bounds memory


def read_segments(path: Path, spec: FeatureSpec) -> Tensor:
    """A file's segments, levelled as a whole track, `[segments, samples]`: those of `segments`, but only they are kept.

    Memory does not grow with the file, unless the spec compresses: then the whole track is needed at once.

    Raises:
        AudioError: the file cannot be used; `reason` says why.
    """
    if spec.compress:
        return segments(read(path, spec.sample_rate), spec)
    expected = expected_samples(probe(path), spec.sample_rate)
    for _ in range(2):  # a header may state another length than is decoded: MP3 files', which is estimated
        gathered, mean_square, peak, found = _gathered(path, spec, expected)
        if found == expected:
            expect_a_segment(found, spec)
            return gathered.mul_(_gain(mean_square, peak, spec.loudness))
        expected = found
    raise AudioError("The file changed while it was read.", reason=RejectReason.CHANGED)


def _gathered(path: Path, spec: FeatureSpec, samples: int) -> tuple[Tensor, float, float, int]:
    """Segments of a track of this length in samples; its mean square, its peak, and its true length."""
    length, firsts = spec.segment_samples, starts(samples, spec).tolist()
    gathered = torch.zeros(len(firsts), length)
    energy, peak, position = 0.0, 0.0, 0
    for part in read_parts(path, spec.sample_rate):
        energy += float(part.double().square().sum())
        peak = max(peak, float(part.abs().max()))
        for row in range(bisect_left(firsts, position - length + 1), bisect_left(firsts, position + len(part))):
            at = firsts[row] - position
            piece = part[max(at, 0) : at + length]
            gathered[row, max(-at, 0) : max(-at, 0) + len(piece)] = piece
        position += len(part)
    return gathered, energy / max(position, 1), peak, position


def segments(audio: Tensor, spec: FeatureSpec) -> Tensor:
    """The segments, `[segments, samples]`, of a track `[samples]` that is levelled as a whole.

    Raises:
        AudioError: the track is shorter than one segment.
    """
    expect_a_segment(len(audio), spec)
    return cut(level(audio, spec), spec)


def expect_a_segment(samples: int, spec: FeatureSpec) -> None:
    """Refuse a track that is shorter than one segment.

    Raises:
        AudioError: it is.
    """
    if samples < spec.segment_samples:
        raise AudioError("The track is shorter than one segment.", reason=RejectReason.TOO_SHORT)


def cut(audio: Tensor, spec: FeatureSpec) -> Tensor:
    """A track's segments, `[segments, samples]`: all of them, or `max_segments` spread evenly over it."""
    return audio.unfold(0, spec.segment_samples, 1)[starts(len(audio), spec)]


def starts(samples: int, spec: FeatureSpec) -> Tensor:
    """First samples of the segments of a track, ascending; see `cut`.

    Args:
        samples: length of the track; one shorter than a segment has no segments.
        spec: the feature spec.
    """
    hop = round(spec.hop_seconds * spec.sample_rate)
    count = max(1 + (samples - spec.segment_samples) // hop, 0)
    wanted = torch.linspace(0, count - 1, spec.max_segments).round().long()
    return hop * (wanted if count > spec.max_segments else torch.arange(count))


def level(audio: Tensor, spec: FeatureSpec) -> Tensor:
    """A track at the spec's loudness (RMS), lower if its peaks would clip; compressed first if the spec says so."""
    if spec.compress:
        audio = _compressed(audio, _gain_of(audio, _BEFORE_DBFS), spec)
    return audio * _gain_of(audio, spec.loudness)


def _gain_of(audio: Tensor, loudness: float) -> float:
    parts = torch.split(audio, _PART)
    energy = sum(float(part.double().square().sum()) for part in parts)
    return _gain(energy / len(audio), max(float(part.abs().max()) for part in parts), loudness)


def _gain(mean_square: float, peak: float, loudness: float) -> float:
    """The factor that brings a track to a loudness (dBFS), or less if its peak would clip."""
    return min(10 ** (loudness / 20) / math.sqrt(max(mean_square, FLOOR)), _PEAK / max(peak, FLOOR))


def _compressed(audio: Tensor, factor: float, spec: FeatureSpec) -> Tensor:
    """2:1 compression of audio times a factor, above -40 dBFS, by the level of short windows, without delay."""
    reach = round(_ENVELOPE_SECONDS * spec.sample_rate / 2)
    compressed = torch.empty_like(audio)
    for start in range(0, len(audio), _PART):
        first = max(start - reach, 0)
        part = audio[first : start + _PART + reach] * factor
        mean_square = torch.nn.functional.avg_pool1d(
            part.square()[None, None], 2 * reach + 1, stride=1, padding=reach, count_include_pad=False
        )[0, 0]
        over = (10 * torch.log10(mean_square.clamp(min=FLOOR)) - _KNEE_DBFS).clamp(min=0)
        part = part * 10 ** (-over * (1 - 1 / _RATIO) / 20)
        compressed[start : start + _PART] = part[start - first : start - first + _PART]
    return compressed
