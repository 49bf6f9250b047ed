"""What is fuzzed: every function that reads bytes of another party, or a file that anything may have damaged.

A reader returns a value or raises `SottovoceError`; anything else is a fault. Where a format has one encoding only,
what was read must be written as the same bytes again.
"""

import gzip
import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tests.fuzz.known import IDENTITY, PARAMETERS, RUN, configuration

from sottovoce.errors import SottovoceError
from sottovoce.features.normalisation import load_normalisation
from sottovoce.federation.confirmation import read_confirmations
from sottovoce.federation.enrolment import Enrolment
from sottovoce.federation.fingerprint import from_words
from sottovoce.federation.invitation import Invitation
from sottovoce.federation.log import Evidence
from sottovoce.protocol.messages import decode
from sottovoce.protocol.ring import Ring
from sottovoce.protocol.saved_state import Saved
from sottovoce.release.cosigning import Cosignature, CosignRequest
from sottovoce.release.manifest_reading import read_manifest
from sottovoce.release.signatures import decode as read_signatures
from sottovoce.release.versions import Reference
from sottovoce.run.configuration import RunConfiguration
from sottovoce.run.global_model import GlobalModel
from sottovoce.run.round_sum import RoundSum
from sottovoce.studio.provenance.tags import read as read_tags
from sottovoce_client.backup.archive import extracted
from sottovoce_client.catalogue.sheet import SHEET, read_sheet
from sottovoce_client.flower.bundle_check import check_bundle
from sottovoce_client.home.diary import Diary
from sottovoce_client.home.policy import Policy
from sottovoce_server.home.journal import Journal
from sottovoce_server.rounds.checkpoint import Snapshot

Read = Callable[[bytes], Any]
RING = Ring(16)


@dataclass(frozen=True)
class Target:
    """A reader.

    Args:
        read: takes the bytes; returns the value that they stand for.
        write: the only bytes for a value, or None where a value can be written in several ways.
    """

    read: Read
    write: Callable[[Any], bytes] | None = None

    def try_on(self, data: bytes) -> bool:
        """Whether the bytes are valid.

        Raises:
            AssertionError: they were read, but are not the only encoding of the value.
            Exception: the reader failed other than by an error of ours, which is a fault.
        """
        try:
            value = self.read(data)
        except SottovoceError:
            return False
        if self.write is not None:
            assert self.write(value) == data, "Two encodings are read as one value."
        return True


def _file(folder: Path, name: str, read: Callable[[Path], Any]) -> Read:
    """A reader of a file, from its content."""
    path = folder / name

    def from_content(data: bytes) -> Any:
        path.write_bytes(data)
        return read(path)

    return from_content


def _sealed(seal: Callable[[bytes], bytes], read: Read) -> Read:
    """A reader whose format ends in a checksum: a correct one is appended, or no change would reach the reader."""
    return lambda body: read(body + seal(body))


def _compressed(read: Read) -> Read:
    """A reader of a compressed format, from what is compressed."""
    return lambda data: read(gzip.compress(data, 1))


def _model(data: bytes) -> GlobalModel:
    return GlobalModel.from_bytes(
        data, configuration(), run=RUN, labels=3, trainable=np.ones(PARAMETERS.size, dtype=np.bool_)
    )


def _checksum(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(4)


def _backup(path: Path) -> object:
    with extracted(path, path.parent) as (backup, _):
        return backup


def targets(folder: Path) -> dict[str, Target]:
    """All targets by name.

    Args:
        folder: an empty folder for files of those that read files.
    """
    file = partial(_file, folder)
    return {
        "message": Target(decode, lambda message: bytes(message.encode())),
        "configuration": Target(RunConfiguration.from_bytes, RunConfiguration.to_bytes),
        "round_sum": Target(
            lambda data: RoundSum.from_bytes(1, data, RING, PARAMETERS.size), lambda total: total.to_bytes(RING)
        ),
        "saved_state": Target(_sealed(lambda body: hashlib.sha256(body).digest(), Saved.from_bytes)),
        "global_model": Target(_sealed(_checksum, _model)),
        "enrolment": Target(Enrolment.from_bytes),
        "invitation": Target(lambda data: Invitation.from_bytes(data, "federation.toml")),
        "confirmations": Target(file("confirmations.json", read_confirmations)),
        "evidence": Target(Evidence.from_bytes),
        "fingerprint": Target(lambda data: from_words(data.decode(errors="replace"))),
        "cosign_request": Target(CosignRequest.from_bytes),
        "cosignature": Target(Cosignature.from_bytes),
        "manifest": Target(read_manifest),
        "signatures": Target(read_signatures),
        "normalisation": Target(load_normalisation),
        "reference": Target(lambda data: Reference.parse(data.decode(errors="replace"))),
        "bundle": Target(check_bundle),
        "policy": Target(file("policy.toml", Policy.from_toml)),
        "sheet": Target(file(SHEET, lambda path: read_sheet(path.parent))),
        "diary": Target(file("diary.jsonl", lambda path: Diary(path).notes())),
        "journal": Target(file("journal.jsonl", lambda path: Journal(path, IDENTITY).verify())),
        "checkpoint": Target(Snapshot.from_bytes),
        "backup": Target(_compressed(file("backup.tar.gz", _backup))),
        "tags": Target(file("audio", read_tags)),
    }
