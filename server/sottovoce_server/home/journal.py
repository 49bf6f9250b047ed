"""The coordinator's journal: each line is signed, and chained to the previous one by its digest.

Without the coordinator's key, nobody can change, insert or remove a line undetected. The coordinator could rewrite the
whole journal, and anybody could cut off its end: keep the newest digest elsewhere to detect that.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from sottovoce.canonical import canonical_json, digest
from sottovoce.errors import ConfigurationError, OtherVersion
from sottovoce.federation.identity import Identity, verify
from sottovoce.files import append_line, cut_unfinished_line

PURPOSE = "journal"
FIRST = "0" * 64
VERSION = 2
"""Version of a line. Lines of version 1 have no number and can be read: only data of `round` and kinds were added."""
FIELDS = {"number", "time", "kind", "data", "previous", "signature"}


@dataclass(frozen=True)
class Entry:
    """One line of the journal.

    Args:
        number: from 1.
        time: UTC, ISO 8601.
        kind: `enrolment`, `agreement`, `announcement`, `advert`, `refusal`, `round`, `resumption`, `leave-out`,
            `run-over`, `release`, or `repair` after an unfinished line was cut off.
        data: details; nothing derived from anybody's audio.
        previous: digest of the previous line (hexadecimal), or 64 zeros.
        signature: by the coordinator, over the digest (hexadecimal).
        version: version of the line; not stored in lines of version 1.
    """

    number: int
    time: str
    kind: str
    data: dict[str, Any]
    previous: str
    signature: str = ""
    version: int = 1

    @property
    def digest(self) -> str:
        """SHA-256 over all fields but the signature (hexadecimal)."""
        return digest({name: value for name, value in self.to_values().items() if name != "signature"}).hex()

    def to_values(self) -> dict[str, Any]:
        """The line as JSON's plain values."""
        return {name: value for name, value in vars(self).items() if name != "version" or self.version > 1}


@dataclass(frozen=True)
class Journal:
    """An append-only file.

    Args:
        path: the file; if missing, the journal is empty.
        identity: the coordinator's identity.
    """

    path: Path
    identity: Identity = field(repr=False)

    def append(self, kind: str, data: dict[str, Any]) -> Entry:
        """Append a line; it is on disk when this returns.

        A last line without its end, which a crash leaves, is cut off first, and a line of its own says so.

        Raises:
            ConfigurationError: the journal's last line is damaged; a broken chain is not extended.
            OSError: the line could not be written, for example on a full disk. The journal is unchanged.
        """
        with FileLock(self.path.with_suffix(".lock"), mode=0o600):
            return self._add(self._cut(self._last()), kind, data)

    @property
    def is_unfinished(self) -> bool:
        """Whether the last line lacks its end, as a crash leaves it."""
        data = self.path.read_bytes() if self.path.exists() else b""
        return bool(data) and not data.endswith(b"\n")

    def heal(self) -> None:
        """Cut off an unfinished last line, and record that in a line of its own."""
        with FileLock(self.path.with_suffix(".lock"), mode=0o600):
            self._cut(self._last())

    def _cut(self, last: Entry | None) -> Entry | None:
        """Cut off an unfinished line; returns the last line afterwards."""
        cut = cut_unfinished_line(self.path)
        if not cut:
            return last
        return self._add(last, "repair", {"bytes": len(cut), "sha256": hashlib.sha256(cut).hexdigest()})

    def _add(self, last: Entry | None, kind: str, data: dict[str, Any]) -> Entry:
        unsigned = Entry(
            number=last.number + 1 if last else 1,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            kind=kind,
            data=json.loads(canonical_json(data)),
            previous=last.digest if last else FIRST,
            version=VERSION,
        )
        signature = self.identity.sign(purpose=PURPOSE, message=bytes.fromhex(unsigned.digest)).hex()
        entry = Entry(**{**vars(unsigned), "signature": signature})
        append_line(self.path, canonical_json(entry.to_values()), mode=0o600)
        return entry

    def verify(self, head: str | None = None) -> list[Entry]:
        """All lines, after checking that each is signed, in order, and chained to the previous one.

        What a crash left unfinished after the last line is passed over; the next line's `append` cuts it off.

        Args:
            head: an earlier newest digest that must still be in the journal, or None.

        Raises:
            ConfigurationError: a line was edited, or the digest is missing.
        """
        entries: list[Entry] = []
        previous = FIRST
        for number, entry in enumerate(self._entries(), start=1):
            if entry.number != number or entry.previous != previous:
                raise ConfigurationError(f"Line {number} of the journal is not chained to the previous line.")
            if not self._is_ours(entry):
                raise ConfigurationError(f"Line {number} of the journal was changed after it was signed.")
            entries.append(entry)
            previous = entry.digest
        if head is not None and head not in {entry.digest for entry in entries}:
            raise ConfigurationError("No line of the journal has this digest: the journal was cut off or replaced.")
        return entries

    def _is_ours(self, entry: Entry) -> bool:
        try:
            signature = bytes.fromhex(entry.signature)
        except ValueError:
            return False
        return verify(self.identity.public_key, signature, purpose=PURPOSE, message=bytes.fromhex(entry.digest))

    def _entries(self) -> Iterator[Entry]:
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        lines.pop()  # empty, or the remains of a line after a crash
        for number, line in enumerate(lines, start=1):
            yield _parsed(line, number)

    def _last(self) -> Entry | None:
        last = None
        for entry in self._entries():
            last = entry
        if last is not None and not self._is_ours(last):
            raise ConfigurationError("The journal's last line was changed after it was signed.")
        return last


def _parsed(line: bytes, number: int) -> Entry:
    try:
        values = json.loads(line)
        version = values.get("version", 1)
        if type(version) is int and version > VERSION:
            raise OtherVersion(
                f"Line {number} of the journal is of version {version}; this release reads versions up to {VERSION}.",
                hint="Use the release that wrote it, or a newer one.",
            )
        if set(values) - {"version"} != FIELDS or canonical_json(values) != line or type(values["number"]) is not int:
            raise ValueError
        if "version" in values and version != VERSION:
            raise ValueError
        if type(values["data"]) is not dict or any(type(values[name]) is not str for name in ("previous", "signature")):
            raise ValueError
        return Entry(**values)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ConfigurationError(f"Line {number} of the journal cannot be read.") from None
