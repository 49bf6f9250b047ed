"""A label's notes on each run, for its own people: the run's configuration, and why it was declined, if it was.

One line of JSON per note, appended and flushed. Spending is recorded in the ledger; only answers about releases
(co-signing, audits) depend on notes.
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import FileLock

from sottovoce.canonical import canonical_json
from sottovoce.errors import OtherVersion
from sottovoce.files import append_line, cut_unfinished_line, write_bytes
from sottovoce.protocol.message import VERSION as NEWEST_PROTOCOL
from sottovoce.run.configuration import RunConfiguration
from sottovoce_client.budget.rows import Head

OWNER_ONLY = 0o600
VERSION = 2
"""Version of a line. Lines of version 1 have no number and can be read: only kinds of notes were added since."""
LARGEST = 4_000_000
"""Size of the file in bytes above which old refusals are dropped: a coordinator can announce runs without end."""
KEPT_REFUSALS = 1_000
KEPT_JOIN_TAGS = 50
"""Notes of other labels' join tags, about one a run, that are kept when refusals are dropped: 2 MB at 1,000 labels."""


class What(StrEnum):
    """Kind of a note."""

    JOINED = "joined"
    REFUSED = "refused"
    ROUND_DECLINED = "round-declined"
    COMPLAINED = "complained"
    LEFT_OUT = "left-out"
    NO_TRACKS = "no-tracks"
    JOIN_TAGS = "join-tags"
    PUT_BACK = "put-back"
    FOLLOWED = "followed"
    OVER = "over"
    CLOSED = "closed"
    COSIGNED = "cosigned"
    AUDIT_BEGUN = "audit-begun"
    AUDITED = "audited"


_LASTING = frozenset(
    {What.JOINED, What.OVER, What.CLOSED, What.FOLLOWED, What.AUDIT_BEGUN, What.AUDITED, What.COSIGNED}
)
"""Notes that answers, or the check of the ledger, depend on, and that no coordinator can cause at will."""


@dataclass(frozen=True)
class Note:
    """One note.

    Args:
        time: UTC, ISO 8601.
        what: kind of the note.
        run: the run's id, hexadecimal.
        details: plain values; which ones depends on `what`.
    """

    time: str
    what: What
    run: str
    details: dict[str, Any]


@dataclass(frozen=True)
class Diary:
    """A label's notes in one file, readable by the owner only."""

    file: Path

    def joined(
        self,
        run: bytes,
        config: RunConfiguration,
        *,
        federation: str,
        protocol: int = NEWEST_PROTOCOL,
        epsilon: float,
        delta: float,
        ledger: Head | None = None,
    ) -> None:
        """Note a run that the label takes part in: version of the protocol, published ceiling, the ledger's head.

        Releases of the run are compared with this, since the configuration's digest alone does not reveal its values.
        """
        signed = {
            "configuration": config.digest,
            "classes": config.classes,
            "unit": config.unit.value,
            "protocol": protocol,
        }
        promise = {"epsilon": epsilon if config.private else None, "delta": delta}
        self._add(What.JOINED, run, {**_about(config), **signed, "federation": federation, **promise, **_head(ledger)})

    def refused(self, run: bytes, config: RunConfiguration, reason: str, *, why: str = "", hint: str = "") -> None:
        """Note a run that the label declined.

        Args:
            run: the run's id.
            config: the announced configuration.
            reason: the reason sent to the coordinator.
            why: details for this label's people only, and `hint`: what to do.
            hint: see `why`.
        """
        self._add(What.REFUSED, run, {**_about(config), "reason": reason, "why": why, "hint": hint})

    def round_declined(self, run: bytes, round_number: int, reason: str) -> None:
        """Note a round that the label declined in a run that it takes part in."""
        self._add(What.ROUND_DECLINED, run, {"round": round_number, "reason": reason})

    def complained(self, run: bytes, round_number: int, labels: Sequence[str]) -> None:
        """Note other labels whose sealed shares for this one did not open, or did not match their tags."""
        self._add(What.COMPLAINED, run, {"round": round_number, "labels": list(labels)})

    def left_out(self, run: bytes, round_number: int, labels: Sequence[str]) -> None:
        """Note labels that the coordinator no longer asks because they lied, once for each such set."""
        known = [note for note in self._read() if note.what is What.LEFT_OUT and note.run == run.hex()]
        if not known or known[-1].details.get("labels") != list(labels):
            self._add(What.LEFT_OUT, run, {"round": round_number, "labels": list(labels)})

    def no_tracks(self, run: bytes, round_number: int) -> None:
        """Note the first round of a run that no track of the catalogue fits; 0 if that was known on joining."""
        if not any(note.what is What.NO_TRACKS and note.run == run.hex() for note in self._read()):
            self._add(What.NO_TRACKS, run, {"round": round_number})

    def join_tags(self, run: bytes, tags: Mapping[str, bytes]) -> dict[str, str]:
        """Record other labels' join tags in a run, and which of them showed theirs in another run before.

        Returns:
            Labels whose homes were put back, each with the earlier run (hex) of the same tag.
        """
        shown = {(label, tag.hex()) for label, tag in tags.items()}
        known = dict(self._tags())
        new = dict(sorted(shown - known.keys()))
        again = {label: known[label, tag] for label, tag in sorted(shown & known.keys())}
        twice = {label: earlier for label, earlier in again.items() if earlier != run.hex()}
        if new:
            self._add(What.JOIN_TAGS, run, {"tags": new})
        if twice and not any((note.what, note.run) == (What.PUT_BACK, run.hex()) for note in self._read()):
            self._add(What.PUT_BACK, run, {"runs": twice})
        return twice

    def _tags(self) -> Iterator[tuple[tuple[str, str], str]]:
        """Labels' join tags (hex), each with the run (hex) that it was shown in first."""
        for note in self._read():
            tags = note.details.get("tags")
            if note.what is What.JOIN_TAGS and isinstance(tags, dict):
                yield from (((label, tag), note.run) for label, tag in tags.items() if isinstance(tag, str))

    def followed(self, run: bytes, *, weights: str) -> None:
        """Record the digest (SHA-256, hex) of the weights file that this label computed from a run's sums."""
        if self.weights(run.hex()) != weights:
            self._add(What.FOLLOWED, run, {"weights": weights})

    def weights(self, run: str) -> str | None:
        """The digest recorded by `followed` for a run's id (hex); None if the label did not follow it to its end."""
        found = [note.details.get("weights") for note in self._read() if (note.what, note.run) == (What.FOLLOWED, run)]
        return found[-1] if found else None

    def cosigned(self, run: bytes, *, release: str) -> None:
        """Record that the label has signed a release of the run, by its manifest's digest (hex)."""
        if release not in self.cosigned_releases(run.hex()):
            self._add(What.COSIGNED, run, {"release": release})

    def cosigned_releases(self, run: str) -> frozenset[str]:
        """Releases of a run, by its id (hex), that the label has signed; earlier versions did not record which."""
        notes = (note for note in self._read() if note.what is What.COSIGNED and note.run == run)
        return frozenset(str(note.details["release"]) for note in notes if "release" in note.details)

    def audit_begun(self, run: bytes, *, release: str) -> None:
        """Note that the audit of a release of a run, by its manifest's digest (hex), starts before co-signing."""
        self._add(What.AUDIT_BEGUN, run, {"release": release})

    def audited(self, run: bytes, *, release: str, passed: bool, cosign: bool) -> None:
        """Note whether a release of a run, by its manifest's digest (hex), passed the copy audit, and its purpose."""
        self._add(What.AUDITED, run, {"release": release, "passed": passed, "cosign": cosign})

    def over(self, run: bytes, *, after: int, ledger: Head) -> None:
        """Note that a run is over, its last round, and the ledger's head."""
        self._add(What.OVER, run, {"after": after, **_head(ledger)})

    def closed(self, run: bytes, *, why: str = "", ledger: Head | None = None) -> None:
        """Note that the label's people closed a run, or why it was closed without them; and the ledger's head."""
        self._add(What.CLOSED, run, {**({"why": why} if why else {}), **_head(ledger)})

    def joining(self, run: str) -> dict[str, Any] | None:
        """The note on joining a run, by the run's id (hex); None if the label did not join it.

        Notes by earlier versions have fewer fields: `classes` was added later.
        """
        joined = [note for note in self._read() if note.what is What.JOINED and note.run == run]
        return joined[-1].details if joined else None

    def newest_protocol(self) -> int:
        """Newest version of the protocol of a run that the label joined; 0 if no note says one."""
        versions = (note.details.get("protocol") for note in self._read() if note.what is What.JOINED)
        return max((version for version in versions if isinstance(version, int)), default=0)

    def notes(self) -> tuple[Note, ...]:
        """All notes, oldest first. Truncated and damaged lines are skipped."""
        return tuple(self._read())

    def _read(self) -> Iterator[Note]:
        try:
            lines = self.file.read_bytes().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                values = json.loads(line)
                version = values.pop("version", 1)
                if isinstance(version, int) and version > VERSION:
                    raise OtherVersion(
                        f"The diary contains a line of version {version}; this release reads versions up to {VERSION}.",
                        hint="Use the release that wrote it, or a newer one.",
                    )
                time, what, run = str(values.pop("time")), What(values.pop("what")), str(values.pop("run"))
                bytes.fromhex(run)
                yield Note(time, what, run, values)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue

    def _add(self, what: What, run: bytes, details: dict[str, Any]) -> None:
        time = datetime.now(UTC).isoformat(timespec="seconds")
        line = canonical_json({**details, "time": time, "what": what.value, "run": run.hex(), "version": VERSION})
        with FileLock(self.file.with_name(f".{self.file.name}.lock"), mode=OWNER_ONLY):
            cut_unfinished_line(self.file)
            append_line(self.file, line, mode=OWNER_ONLY)
            if self.file.stat().st_size > LARGEST:
                self._shorten()

    def _shorten(self) -> None:
        notes = self.notes()
        tags = deque((note for note in notes if note.what is What.JOIN_TAGS), maxlen=KEPT_JOIN_TAGS)
        passing = (note for note in notes if note.what not in {*_LASTING, What.JOIN_TAGS})
        refusals = deque(passing, maxlen=KEPT_REFUSALS)
        kept = {id(note) for note in (*tags, *refusals, *(note for note in notes if note.what in _LASTING))}
        lines = (
            canonical_json(
                {**note.details, "time": note.time, "what": note.what.value, "run": note.run, "version": VERSION}
            )
            for note in notes
            if id(note) in kept
        )
        write_bytes(self.file, b"".join(line + b"\n" for line in lines), mode=OWNER_ONLY)


def _head(ledger: Head | None) -> dict[str, Any]:
    return {"ledger": ledger.to_json()} if ledger else {}


def _about(config: RunConfiguration) -> dict[str, Any]:
    return {"task": config.task, "family": config.family, "rounds": config.rounds, "trust": config.trust.value}
