"""What is said of audio that a release made or changed: which release, and what it did."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sottovoce.studio.provenance.watermark.payload import PAYLOAD_BYTES

GENERATE = "generate"
"""The operation that makes audio; every other changes some."""

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
"""Where IPTC's digital source types live, which C2PA and tags use."""

MADE = "trainedAlgorithmicMedia"
PARTLY_MADE = "compositeWithTrainedAlgorithmicMedia"

Value = str | int | float | bool

_OPERATION = re.compile(r"[a-z][a-z-]{0,31}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-z_]{1,32}")
_MOST_PARAMETERS = 16
_LONGEST = 64


@dataclass(frozen=True)
class Origin:
    """Where audio came from.

    All of it is written into the file, for anybody to read: no parameter may hold a path, a title or a person's name.

    Args:
        operation: what was done, such as `generate`, `repair` or `extend`.
        release: the release's name; empty if no trained model was used.
        digest: SHA-256 of its manifest, 64 hexadecimal digits; empty likewise.
        parameters: of the operation, such as the style, the seed or the seconds.
        of_model: whether the audio that was changed was itself made by a model, as a whole or in part.

    Raises:
        ValueError: a field is not of its form.
    """

    operation: str
    release: str = ""
    digest: str = ""
    parameters: Mapping[str, Value] = field(default_factory=dict)
    of_model: bool = False

    def __post_init__(self) -> None:
        if not _OPERATION.fullmatch(self.operation):
            raise ValueError(f"Expected an operation such as 'generate', not {self.operation!r}.")
        if bool(self.release) != bool(self.digest) or (self.digest and not _DIGEST.fullmatch(self.digest)):
            raise ValueError("Expected a release's name and its digest of 64 hexadecimal digits, or neither.")
        if not _plain(self.release):
            raise ValueError(f"Expected a short printable name of a release, not {self.release!r}.")
        if len(self.parameters) > _MOST_PARAMETERS:
            raise ValueError(f"Expected {_MOST_PARAMETERS} parameters at most, not {len(self.parameters)}.")
        for name, value in self.parameters.items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"Expected a parameter's name such as 'seconds', not {name!r}.")
            if isinstance(value, str) and (not _plain(value) or "/" in value or "\\" in value):
                raise ValueError(f"Expected short printable text that is no path as the parameter {name}.")
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))

    @classmethod
    def of(cls, manifest: bytes, release: str, operation: str, **parameters: Value) -> "Origin":
        """The origin in a release whose `manifest.json` has these bytes."""
        return cls(operation, release, hashlib.sha256(manifest).hexdigest(), parameters)

    @property
    def made(self) -> bool:
        """Whether the audio is new, and not a change of some that was there."""
        return self.operation == GENERATE

    @property
    def source_type(self) -> str:
        """IPTC's word for it: made by a model, partly by a model, or changed without one."""
        if self.of_model and not self.made:
            return PARTLY_MADE
        if not self.digest:
            return "algorithmicMedia" if self.made else "algorithmicallyEnhanced"
        return MADE if self.made else PARTLY_MADE

    @property
    def payload(self) -> bytes | None:
        """What the watermark carries: the digest's first 48 bits."""
        return payload_of(self.digest) if self.digest else None


def payload_of(digest: str) -> bytes:
    """The watermark's payload for a release of this digest (64 hexadecimal digits)."""
    return bytes.fromhex(digest)[:PAYLOAD_BYTES]


def _plain(text: str) -> bool:
    return text.isprintable() and len(text) <= _LONGEST
