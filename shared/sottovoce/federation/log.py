"""The coordinator's log of agreements and releases: append-only, and any other change is detected.

It is a Merkle tree (RFC 9162). Each agreement and each release carries evidence: the tree's head, signed by the
coordinator, a proof of inclusion, and proofs that the log extends every earlier state. Anyone who keeps a head detects
a removed entry, or a second history shown to somebody else.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock

from sottovoce.canonical import canonical_json
from sottovoce.errors import ConfigurationError, SplitView
from sottovoce.federation import merkle
from sottovoce.federation.hexadecimal import hex_bytes
from sottovoce.federation.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Identity, verify
from sottovoce.files import write_bytes
from sottovoce.versioned import Format, Versioned

PURPOSE = "log-head"
VERSION = 1
MOST_ENTRIES = 2_000
"""Largest number of entries: each time, the proofs for all of them are computed and sent."""
LARGEST_EVIDENCE = 4_000_000
"""Largest file of evidence in bytes: twice what a log of `MOST_ENTRIES` needs."""
LARGEST_FILE = 64_000_000
"""Largest file of what was seen of all coordinators' logs, in bytes."""
_HASH = 32
_REPORT = "Keep both files, which prove that it signed two histories, and show them to the other labels."


def agreement_entry(agreement: bytes, invitation: bytes) -> bytes:
    """The log's entry for a signed agreement: digests of the agreement and of the signed invitation."""
    return canonical_json({"kind": "agreement", "agreement": agreement, "invitation": invitation})


def release_entry(manifest: bytes) -> bytes:
    """The log's entry for a release: the digest (32 bytes) of its manifest."""
    return canonical_json({"kind": "release", "manifest": manifest})


@dataclass(frozen=True)
class Head:
    """The state of a log.

    Args:
        key: the coordinator's public key (32 bytes).
        size: number of entries.
        root: root of the Merkle tree over them (32 bytes).
        signature: by the key over size and root (64 bytes).

    Raises:
        ConfigurationError: a field is out of range, or the signature does not verify.
    """

    key: bytes
    size: int
    root: bytes
    signature: bytes

    def __post_init__(self) -> None:
        lengths = (len(self.key), len(self.root), len(self.signature))
        if type(self.size) is not int or not 1 <= self.size <= MOST_ENTRIES:
            raise ConfigurationError(f"The log's head has a size outside 1 to {MOST_ENTRIES}.")
        if lengths != (PUBLIC_KEY_BYTES, _HASH, SIGNATURE_BYTES):
            raise ConfigurationError("A field of the log's head has the wrong length.")
        if not verify(self.key, self.signature, purpose=PURPOSE, message=_message(self.size, self.root)):
            raise ConfigurationError("The head of the log is not signed by the coordinator.")

    @classmethod
    def sign(cls, coordinator: Identity, leaves: list[bytes]) -> "Head":
        """The head over these leaves' hashes."""
        tree = merkle.root(leaves)
        signature = coordinator.sign(purpose=PURPOSE, message=_message(len(leaves), tree))
        return cls(coordinator.public_key, len(leaves), tree, signature)


@dataclass(frozen=True)
class Evidence:
    """Proof that an entry is in a log, and that the log extends each of its earlier states.

    Args:
        head: the log's head.
        index: position of the entry.
        inclusion: proof that the entry is there.
        consistency: proofs from sizes 1, 2, … to the head's.
    """

    head: Head
    index: int
    inclusion: tuple[bytes, ...]
    consistency: tuple[tuple[bytes, ...], ...]

    def __post_init__(self) -> None:
        if type(self.index) is not int or len(self.consistency) != self.head.size - 1:
            raise ConfigurationError("The log's evidence has missing or surplus proofs, or no index.")

    def expect(self, entry: bytes, key: bytes) -> None:
        """Check that this proves `entry` to be in the log of the coordinator with this key.

        Raises:
            ConfigurationError: it does not.
        """
        head = self.head
        if head.key != key:
            raise ConfigurationError("The log's head is signed with another key than the coordinator's.")
        if not merkle.includes(head.root, head.size, merkle.leaf_hash(entry), self.index, self.inclusion):
            raise ConfigurationError("The log's evidence does not show that this is in the log.")

    def extends(self, earlier: Head) -> bool:
        """Whether the log extends its earlier state with this head."""
        if earlier.size > self.head.size or earlier.key != self.head.key:
            return False
        proof = () if earlier.size == self.head.size else self.consistency[earlier.size - 1]
        return merkle.extends(earlier.root, earlier.size, self.head.root, self.head.size, proof)

    def to_values(self) -> dict[str, Any]:
        """Plain values; `from_values` restores an equal value."""
        return {
            "version": VERSION,
            "key": self.head.key.hex(),
            "size": self.head.size,
            "root": self.head.root.hex(),
            "signature": self.head.signature.hex(),
            "index": self.index,
            "inclusion": [step.hex() for step in self.inclusion],
            "consistency": [[step.hex() for step in proof] for proof in self.consistency],
        }

    @classmethod
    def from_values(cls, values: object) -> "Evidence":
        """Read evidence from plain values.

        Raises:
            ConfigurationError: a field is missing, unknown or invalid, or the head's signature does not verify.
        """
        return _FORMAT.convert(values)

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        write_bytes(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The content of the file that `write` writes."""
        return json.dumps(self.to_values()).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> "Evidence":
        """Read what `to_bytes` gave.

        Raises:
            ConfigurationError: it is no evidence.
        """
        return _FORMAT.decode(data)

    @classmethod
    def read(cls, path: Path) -> "Evidence":
        """Read evidence written by `write`.

        Raises:
            ConfigurationError: it cannot be read, or is not evidence.
        """
        return _FORMAT.read(path)


class _KeptEvidence(Versioned):
    version: int
    key: str
    size: int
    root: str
    signature: str
    index: int
    inclusion: list[str]
    consistency: list[list[str]]


def _evidence(kept: _KeptEvidence) -> Evidence:
    key, tree, signature = (hex_bytes(text, "the log") for text in (kept.key, kept.root, kept.signature))
    head = Head(key, kept.size, tree, signature)
    return Evidence(head, kept.index, _proof(kept.inclusion), tuple(map(_proof, kept.consistency)))


def _proof(steps: list[str]) -> tuple[bytes, ...]:
    return tuple(hex_bytes(step, "a proof of the log") for step in steps)


_FORMAT = Format(_KeptEvidence, _evidence, VERSION, "The log's evidence", most=LARGEST_EVIDENCE)


@dataclass
class Log:
    """A log at the coordinator.

    Args:
        entries: all entries, oldest first.
    """

    entries: list[bytes] = field(default_factory=list)

    def append(self, entry: bytes, coordinator: Identity) -> Evidence:
        """Add an entry unless it is present, and prove that it is in the log.

        An agreement that another one has replaced is added anew, so that its place says that it is the newest.

        Raises:
            ConfigurationError: the log is full.
        """
        agreements = [each for each in self.entries if _is_agreement(each)]
        if entry not in self.entries or (_is_agreement(entry) and entry != agreements[-1]):
            self.entries.append(entry)
        leaves = [merkle.leaf_hash(each) for each in self.entries]
        index = len(self.entries) - 1 - self.entries[::-1].index(entry)
        consistency = tuple(merkle.consistency_proof(leaves, size) for size in range(1, len(leaves)))
        return Evidence(Head.sign(coordinator, leaves), index, merkle.inclusion_proof(leaves, index), consistency)


@dataclass(frozen=True)
class LogMemory:
    """The newest state seen of each coordinator's log, kept in a file."""

    path: Path

    def newest(self, key: bytes) -> Evidence | None:
        """The newest evidence seen from the coordinator with this key.

        Raises:
            ConfigurationError: the file is damaged.
        """
        known = self._read().get(key.hex())
        return None if known is None else Evidence.from_values(known)

    def expect_same_log(self, evidence: Evidence) -> None:
        """Check that evidence belongs to the log seen before: the same state, an earlier or a later one.

        Raises:
            SplitView: it belongs to another history.
            ConfigurationError: the file is damaged.
        """
        seen = self.newest(evidence.head.key)
        if seen is None:
            return
        older, newer = (seen, evidence) if seen.head.size <= evidence.head.size else (evidence, seen)
        if not newer.extends(older.head):
            raise SplitView(
                f"The coordinator's log of {evidence.head.size} entries contradicts the one of {seen.head.size} that "
                "was seen before: it has signed two histories.",
                hint=_REPORT,
            )

    def remember(self, evidence: Evidence) -> None:
        """Check evidence, and store it if it is the newest.

        Raises:
            SplitView, ConfigurationError: as for `expect_same_log`.
        """
        with self._locked():
            self.expect_same_log(evidence)
            seen = self.newest(evidence.head.key)
            if seen is None or (seen.head.size, seen.index) < (evidence.head.size, evidence.index):
                values = self._read() | {evidence.head.key.hex(): evidence.to_values()}
                write_bytes(self.path, json.dumps(values).encode() + b"\n", mode=0o600)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock"), mode=0o600):
            yield

    def _read(self) -> dict[str, Any]:
        try:
            with self.path.open("rb") as file:
                return msgspec.json.decode(file.read(LARGEST_FILE), type=dict[str, Any])
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigurationError(f"The record of logs {self.path.name} cannot be read: {error.strerror}.") from None
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise ConfigurationError(
                f"The record of logs {self.path.name} is damaged.",
                hint="Restore it from a copy; deleting it loses the record of the histories seen.",
            ) from None


def _is_agreement(entry: bytes) -> bool:
    return b'"kind":"agreement"' in entry


def _message(size: int, tree: bytes) -> bytes:
    return canonical_json({"version": VERSION, "size": size, "root": tree})
