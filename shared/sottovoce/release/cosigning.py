"""Messages for co-signing: the coordinator's request and a label's answer, with bytes at the edge.

Not part of masked rounds: exchanged once per release, after them, and reveals nothing new about the label.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Self

from sottovoce.canonical import canonical_json
from sottovoce.errors import RemoteProtocolError
from sottovoce.federation.agreement import NAME
from sottovoce.federation.identity import SIGNATURE_BYTES
from sottovoce.protocol.message import RUN_BYTES
from sottovoce.protocol.violations import Malformed
from sottovoce.run.configuration import MOST_STEPS

VERSION = 1
LARGEST_MANIFEST = 1_000_000
LARGEST_FRAME = 20_000_000


class OtherAccount(RemoteProtocolError):
    """The release's description of a run contradicts this label's records, so it does not sign."""


class NotFollowed(RemoteProtocolError):
    """This label did not follow the run to its end, so it cannot verify that these are the run's weights."""


class NotCosigning(RemoteProtocolError):
    """This label's policy does not allow it to co-sign releases."""


class NotAudited(RemoteProtocolError):
    """This label co-signs generators and editors only by hand, after its own audit, whose result is not sent."""


@dataclass(frozen=True)
class CosignRequest:
    """Coordinator → label: sign this manifest if it agrees with your records of the run.

    Args:
        run: the run (16 bytes).
        manifest: exact bytes of the release's `manifest.json`.
        rounds: numbers of the training rounds whose sum includes this label's report, ascending.
    """

    run: bytes
    manifest: bytes = field(repr=False)
    rounds: tuple[int, ...]

    def to_bytes(self) -> bytes:
        """Canonical bytes; `from_bytes` restores an equal value."""
        return canonical_json(
            {"version": VERSION, "run": self.run, "manifest": self.manifest.decode(), "rounds": self.rounds}
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a coordinator's request.

        Raises:
            Malformed: the bytes are anything else.
        """
        values = _values(data, {"version", "run", "manifest", "rounds"})
        manifest, rounds = values["manifest"], values["rounds"]
        if not isinstance(manifest, str) or len(manifest) > LARGEST_MANIFEST:
            raise Malformed("A request to co-sign has no manifest.")
        if not isinstance(rounds, list) or not all(type(number) is int for number in rounds):
            raise Malformed("A request to co-sign names no rounds.")
        if rounds != sorted(set(rounds)) or not all(1 <= number <= MOST_STEPS for number in rounds):
            raise Malformed("The rounds of a request to co-sign are not ascending numbers from 1.")
        try:
            return cls(_hex(values["run"], RUN_BYTES), manifest.encode(), tuple(rounds))
        except UnicodeEncodeError:
            raise Malformed("The manifest in a request to co-sign is not UTF-8.") from None


@dataclass(frozen=True)
class Cosignature:
    """Label → coordinator: a label's signature over the manifest, as `sottovoce.release.signatures` makes it.

    Args:
        run: the run (16 bytes).
        label: the label that signs.
        signature: 64 bytes.
    """

    run: bytes
    label: str
    signature: bytes

    def to_bytes(self) -> bytes:
        """Canonical bytes; `from_bytes` restores an equal value."""
        return canonical_json({"version": VERSION, "run": self.run, "label": self.label, "signature": self.signature})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a label's co-signature.

        Raises:
            Malformed: the bytes are anything else.
        """
        values = _values(data, {"version", "run", "label", "signature"})
        if not isinstance(values["label"], str) or not NAME.fullmatch(values["label"]):
            raise Malformed("A co-signature names no label.")
        return cls(_hex(values["run"], RUN_BYTES), values["label"], _hex(values["signature"], SIGNATURE_BYTES))


def _values(data: bytes, expected: set[str]) -> dict[str, Any]:
    try:
        values = json.loads(data) if len(data) <= LARGEST_FRAME else None
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or set(values) != expected or values["version"] != VERSION:
        raise Malformed("The bytes are not a co-signing message.")
    return values


def _hex(value: object, size: int) -> bytes:
    if not isinstance(value, str) or not re.fullmatch(f"[0-9a-f]{{{2 * size}}}", value):
        raise Malformed("A co-signing message has no valid id or signature.")
    return bytes.fromhex(value)
