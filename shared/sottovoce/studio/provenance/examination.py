"""Reads and verifies all marks of a file's origin."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from sottovoce.audio import decoding
from sottovoce.audio.reject_reason import RejectReason
from sottovoce.audio.truncation import ends_early
from sottovoce.errors import AudioError
from sottovoce.studio.provenance import credentials, tags
from sottovoce.studio.provenance.containers import mime_of
from sottovoce.studio.provenance.credentials import Credentials, State
from sottovoce.studio.provenance.finish import digest
from sottovoce.studio.provenance.origin import payload_of
from sottovoce.studio.provenance.watermark.detect import Mark, find

_BLOCK = 1 << 18
_MOST_CHANNELS = 32
_HEAD = 16


@dataclass(frozen=True)
class Report:
    """All marks of a file's origin.

    Args:
        facts: properties of the audio; None for a format whose credentials can be read but not its samples.
        damaged: whether the samples are truncated or cannot be decoded.
        credentials: the signed content credentials.
        same_audio: whether the samples are those that were signed; None if unknown.
        tags: the tags' text.
        marks: the watermarks, clearest first.
    """

    facts: decoding.AudioFacts | None
    damaged: bool
    credentials: Credentials
    same_audio: bool | None
    tags: dict[str, str]
    marks: list[Mark]


def examine(path: Path, *, trusted: bytes = b"", release: str | None = None) -> Report:
    """Read and verify credentials, tags and watermark.

    Args:
        path: an audio file.
        trusted: PEM certificates of trusted authorities.
        release: digest of a release, whose watermark is then detected at a lower threshold.

    Raises:
        AudioError: it is not an audio file, or it cannot be read.
        OSError: likewise.
    """
    facts = _facts(path)
    found = credentials.read(path, trusted)
    damaged, marks = False, []
    if facts is not None:
        damage: list[bool] = []
        expected = payload_of(release) if release else None
        end = facts.frames / facts.sample_rate  # a window may extend beyond it
        found_marks = find(_blocks(path, damage), facts.sample_rate, expected=expected)
        marks = [replace(mark, stop=min(mark.stop, end)) for mark in found_marks]
        damaged = bool(damage)
    return Report(facts, damaged, found, _same_audio(path, found), dict(tags.read(path)), marks)


def _facts(path: Path) -> decoding.AudioFacts | None:
    """Properties of the audio; None for a format that only the credentials' library supports (M4A)."""
    if path.exists() and not path.is_file():  # opening a pipe would block for ever
        raise AudioError("It is not a regular file.", reason=RejectReason.NOT_AUDIO)
    try:
        return decoding.probe(path)
    except AudioError:
        if not path.is_file():
            raise
        with path.open("rb") as file:
            if mime_of(file.read(_HEAD)) != "audio/mp4":
                raise
        return None


def _blocks(path: Path, damage: list[bool]) -> Iterator[NDArray[np.float32]]:
    """The samples `[channels, n]`, piece by piece, until decoding fails."""
    try:
        with soundfile.SoundFile(path) as file:
            promised, decoded = file.frames, 0
            while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
                decoded += len(block)
                finite = np.nan_to_num(block[:, :_MOST_CHANNELS], nan=0.0, posinf=0.0, neginf=0.0)
                yield np.clip(finite, -decoding.LOUDEST, decoding.LOUDEST).T
            if ends_early(path, file.format, promised, decoded):
                damage.append(True)
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError):
        damage.append(True)


def _same_audio(path: Path, found: Credentials) -> bool | None:
    if found.audio is None or found.state in {State.ABSENT, State.INVALID}:
        return None
    try:
        return digest(path) == found.audio
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError):
        return False


def as_plain(report: Report) -> dict[str, Any]:
    """The report as plain JSON values."""
    said = report.credentials.origin
    facts = report.facts
    return {
        "audio": None
        if facts is None
        else {
            "format": facts.format,
            "sample_rate": facts.sample_rate,
            "channels": facts.channels,
            "frames": facts.frames,
            "damaged": report.damaged,
        },
        "credentials": {
            "state": report.credentials.state.value,
            "problems": list(report.credentials.problems),
            "signer": report.credentials.signer,
            "issuer": report.credentials.issuer,
            "source_type": report.credentials.source_type,
            "same_audio": report.same_audio,
            "origin": None
            if said is None
            else {
                "operation": said.operation,
                "release": said.release,
                "digest": said.digest,
                "parameters": dict(said.parameters),
            },
        },
        "tags": report.tags,
        "watermarks": [
            {
                "payload": mark.payload.hex(),
                "score": round(mark.score, 2),
                "start": round(mark.start, 2),
                "stop": round(mark.stop, 2),
            }
            for mark in report.marks
        ],
    }
