"""Opening one file: its digest, whether its audio can be used, and its tags."""

from dataclasses import dataclass, field
from pathlib import Path

from sottovoce.audio import Unusable, inspect

from sottovoce.errors import AudioError
from sottovoce.files import sha256_file
from sottovoce_client.catalogue.tags import Tags, read_tags


@dataclass(frozen=True)
class Facts:
    """What a file's content says, whatever a scan is for.

    Args:
        digest: SHA-256 of the content, 64 hexadecimal digits; empty where it could not be read.
        seconds: of audio; 0 where there is none.
        reason: why its audio cannot be used, or None where it can.
        detail: the same in a sentence.
        tags: what is written inside.
    """

    digest: str
    seconds: float = 0.0
    reason: Unusable | None = None
    detail: str = ""
    tags: Tags = field(default_factory=Tags)

    @property
    def lasting(self) -> bool:
        """Whether the same content says the same tomorrow; a permission or a network drive may come back."""
        return bool(self.digest)


def examine(path: Path) -> Facts:
    """Read a file through."""
    try:
        if path.stat().st_size == 0:
            return Facts(sha256_file(path), reason=Unusable.EMPTY, detail="it has no content")
        digest = sha256_file(path)
        seconds = inspect(path).seconds
    except PermissionError:
        return Facts("", reason=Unusable.NO_PERMISSION, detail="it may not be read")
    except FileNotFoundError:
        return Facts("", reason=Unusable.MISSING, detail="it vanished during the scan")
    except OSError as error:
        return Facts("", reason=Unusable.UNREADABLE, detail=f"it cannot be read: {error.strerror}")
    except AudioError as error:
        return Facts(digest, reason=error.reason, detail=error.message)
    return Facts(digest, seconds, tags=read_tags(path))
