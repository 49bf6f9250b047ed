"""Reads one file: its digest, whether its audio can be used, and its tags."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from sottovoce.audio.decoding import inspect
from sottovoce.audio.reject_reason import RejectReason
from sottovoce.errors import AudioError
from sottovoce.files import sha256_file
from sottovoce_client.catalogue.embedded_tags import Tags, read_tags

# Permissions, network drives and files may come back, so these reasons are not about the content.
_PASSING = (RejectReason.NO_PERMISSION, RejectReason.MISSING, RejectReason.UNREADABLE)


@dataclass(frozen=True)
class Facts:
    """Facts about a file's content, independent of a scan's purpose.

    Args:
        digest: SHA-256 of the content, 64 hexadecimal digits; empty where the content could not be read.
        samples_digest: SHA-256 of the decoded samples, likewise; see `AudioFacts`.
        seconds: length of the audio; 0 if it has none.
        reason: why its audio cannot be used, or None if it can.
        detail: the same in a sentence.
        tags: the embedded tags.
    """

    digest: str
    samples_digest: str = ""
    seconds: float = 0.0
    reason: RejectReason | None = None
    detail: str = ""
    tags: Tags = field(default_factory=Tags)

    @property
    def lasting(self) -> bool:
        """Whether the facts depend on the content alone, so that the index may keep them."""
        return bool(self.digest)

    def plain(self) -> tuple[Any, ...]:
        """The facts as plain values in a fixed order, which `of` reads back."""
        return (self.digest, self.samples_digest, self.seconds, self.reason, self.detail, *astuple(self.tags))

    @classmethod
    def of(cls, plain: Sequence[Any]) -> "Facts":
        """Facts from plain values."""
        digest, samples_digest, seconds, reason, detail, *tags = plain
        return cls(digest, samples_digest, seconds, RejectReason(reason) if reason else None, detail, Tags(*tags))


def examine(path: Path) -> Facts:
    """Read a whole file."""
    try:
        digest = sha256_file(path)
        audio = inspect(path)
    except PermissionError:
        return Facts("", reason=RejectReason.NO_PERMISSION, detail="No permission to read the file.")
    except FileNotFoundError:
        return Facts("", reason=RejectReason.MISSING, detail="The file does not exist.")
    except OSError as error:
        return Facts("", reason=RejectReason.UNREADABLE, detail=f"The file cannot be read: {error.strerror}.")
    except AudioError as error:
        return Facts("" if error.reason in _PASSING else digest, reason=error.reason, detail=error.message)
    return Facts(digest, audio.samples_digest, audio.seconds, tags=read_tags(path))
