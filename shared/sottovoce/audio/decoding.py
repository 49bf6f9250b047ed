"""Audio files: their properties, whether they can be used, and their samples.

Decoding is libsndfile's: WAV, FLAC, OGG, Opus and MP3.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from numpy.typing import NDArray

from sottovoce.audio.reject_reason import RejectReason
from sottovoce.audio.resampling import resampled_blocks, resampled_length
from sottovoce.audio.truncation import ends_early
from sottovoce.errors import AudioError

if TYPE_CHECKING:
    from torch import Tensor

AUDIO = frozenset({".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3"})
"""File name suffixes that can be decoded, in lower case."""

SILENCE_DBFS = -80.0
"""RMS level below which a track counts as silent, dBFS."""

LOUDEST = 1e4
"""Largest magnitude of a sample; floating-point files may exceed full scale (1), but not by this much."""

MAX_SECONDS = 1800.0
"""Seconds of a track that are read; bounds memory."""

LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000
"""Allowed sample rates, Hz; a false header could otherwise demand filters of gigabytes."""

_BLOCK = 1 << 16


@dataclass(frozen=True)
class AudioFacts:
    """Properties of an audio file.

    Args:
        frames: samples per channel.
        sample_rate: Hz.
        channels: number of channels.
        format: libsndfile's name of the container, such as `FLAC`.
        samples_digest: SHA-256 of the decoded mono samples and their rate, 64 hexadecimal digits, which tags and
            containers do not change; empty where nothing was decoded.
    """

    frames: int
    sample_rate: int
    channels: int
    format: str
    samples_digest: str = ""

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate


def probe(path: Path) -> AudioFacts:
    """The properties in a file's header; for MP3 they may be estimates. Nothing is decoded.

    Raises:
        AudioError: the file cannot be opened as audio; `reason` says why.
    """
    with _opened(path) as file:
        return AudioFacts(file.frames, file.samplerate, file.channels, file.format)


def inspect(path: Path) -> AudioFacts:
    """Decode a whole file, in constant memory, and check that it can be used.

    Raises:
        AudioError: it cannot be used; `reason` says why.
    """
    energy, frames = 0.0, 0
    with _opened(path) as file:
        hashed = hashlib.sha256(f"{file.samplerate}/".encode())
        for block in _blocks(path, file):
            energy += float(np.dot(block, block))
            frames += len(block)
            hashed.update(block.astype("<f4", copy=False).data)
        facts = AudioFacts(frames, file.samplerate, file.channels, file.format, hashed.hexdigest())
    _check_level(energy, frames)
    return facts


def read(path: Path, sample_rate: int) -> "Tensor":
    """A file's samples, mono (the mean of its channels), resampled: float32 `[samples]`; at most `MAX_SECONDS`.

    Args:
        path: the file.
        sample_rate: wanted rate, Hz.

    Raises:
        AudioError: the file cannot be used; `reason` says why.
    """
    import torch

    # Pages that are not written take no memory, so that the longest track's length costs a short one nothing.
    samples = np.empty(_longest(probe(path).sample_rate, sample_rate), dtype=np.float32)
    filled = 0
    for part in read_parts(path, sample_rate):
        samples[filled : filled + len(part)] = part
        filled += len(part)
    return torch.from_numpy(samples[:filled])


def read_parts(path: Path, sample_rate: int) -> Iterator["Tensor"]:
    """The samples of `read`, part by part, as they are decoded: memory does not grow with the file.

    Raises:
        AudioError: the file cannot be used; `reason` says why, possibly after the last part.
    """
    energy, decoded = 0.0, 0

    def measured(blocks: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        nonlocal energy, decoded
        for block in blocks:
            energy += float(np.dot(block, block))
            decoded += len(block)
            yield block

    with _opened(path) as file:
        blocks = measured(_blocks(path, file, round(MAX_SECONDS * file.samplerate)))
        yield from resampled_blocks(blocks, file.samplerate, sample_rate)
    _check_level(energy, decoded)


def expected_samples(facts: AudioFacts, sample_rate: int) -> int:
    """Number of samples that `read` returns at a rate in Hz, if the file's header is right."""
    return min(resampled_length(facts.frames, facts.sample_rate, sample_rate), _longest(facts.sample_rate, sample_rate))


def _longest(rate: int, wanted: int) -> int:
    blocks = -(-round(MAX_SECONDS * rate) // _BLOCK)
    return resampled_length(blocks * _BLOCK, rate, wanted)


def expect_rate(rate: int) -> None:
    """Refuse a sample rate (Hz) that no music has.

    Raises:
        AudioError: it is below `LOWEST_RATE` or above `HIGHEST_RATE`.
    """
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise AudioError(
            f"The file says {rate:,} Hz; music has {LOWEST_RATE:,} to {HIGHEST_RATE:,} Hz.",
            reason=RejectReason.SAMPLE_RATE,
        )


@contextmanager
def _opened(path: Path) -> Iterator[soundfile.SoundFile]:
    """Open a file for decoding; all errors inside become an `AudioError` without the path."""
    try:
        with path.open("rb", buffering=0) as raw:
            head = raw.read(12)
            if not head:
                raise AudioError("The file is empty.", reason=RejectReason.EMPTY)
            raw.seek(0)
            try:
                with soundfile.SoundFile(raw.fileno(), closefd=False) as file:
                    expect_rate(file.samplerate)
                    yield file
            except soundfile.SoundFileError:
                if head[:4] == b"fLaC" and raw.tell() >= path.stat().st_size:
                    raise AudioError("The audio is truncated.", reason=RejectReason.TRUNCATED) from None
                raise
    except PermissionError:
        raise AudioError("No permission to read the file.", reason=RejectReason.NO_PERMISSION) from None
    except FileNotFoundError:
        raise AudioError("The file does not exist.", reason=RejectReason.MISSING) from None
    except OSError as error:
        raise AudioError(f"The file cannot be read: {error.strerror}.", reason=RejectReason.UNREADABLE) from None
    except (soundfile.SoundFileError, TypeError, ValueError, RuntimeError, MemoryError):
        # ID3 tags and the frame sync of MPEG audio have no fixed four bytes.
        known = head[:4] in _MAGIC or head[:3] == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")
        if known:
            raise AudioError("The audio is damaged.", reason=RejectReason.CORRUPT) from None
        raise AudioError("The file is not audio in a supported format.", reason=RejectReason.NOT_AUDIO) from None


_MAGIC = (b"RIFF", b"RF64", b"fLaC", b"OggS")


def _blocks(path: Path, file: soundfile.SoundFile, most: int | None = None) -> Iterator[NDArray[np.float32]]:
    """The mono samples, block by block, checked to be finite and as many as the header states."""
    promised, decoded = file.frames, 0
    while most is None or decoded < most:
        block = file.read(_BLOCK, dtype="float32", always_2d=True)
        if not len(block):
            break
        decoded += len(block)
        mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
        if not np.isfinite(mono).all() or np.abs(mono).max() > LOUDEST:
            raise AudioError(
                "The audio contains samples that are not finite or far beyond full scale.",
                reason=RejectReason.NOT_FINITE,
            )
        yield np.ascontiguousarray(mono)
    else:
        return
    if ends_early(path, file.format, promised, decoded):
        raise AudioError("The audio is truncated.", reason=RejectReason.TRUNCATED)
    if file.format == "OGG" and decoded < promised:
        raise AudioError("The audio is damaged.", reason=RejectReason.CORRUPT)


def _check_level(energy: float, frames: int) -> None:
    if frames == 0:
        raise AudioError("The file has no samples.", reason=RejectReason.EMPTY)
    if energy / frames < 10 ** (SILENCE_DBFS / 10):
        raise AudioError("The audio is silent.", reason=RejectReason.SILENT)
