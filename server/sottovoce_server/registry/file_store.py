"""The registry's files: whole ones under their digest, half ones aside. No name from outside becomes a path.

blobs/ab/abcdef…      what is published, by SHA-256
uploads/ID/FILE       what is on its way in; FILE is one of a release's names
incoming/RANDOM       what is being received
checking/ID           an upload that is being checked: nothing can be put into it any more
"""

import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

from sottovoce.federation.log import LARGEST_EVIDENCE
from sottovoce.release.check import ALLOWED, LARGEST_MANIFEST, LARGEST_SIGNATURES
from sottovoce.release.manifest import LOG_FILE, MANIFEST_FILE, SIGNATURE_FILE
from sottovoce_server.registry.settings import STALL_SECONDS, UPLOAD_SECONDS

ID = re.compile(r"[0-9a-f]{32}")
ORPHAN_SECONDS = 24 * 3600
BUFFER = 1 << 20


class TooLarge(Exception):
    """More bytes came than the file may have."""


class Gone(Exception):
    """There is no such upload: it was published, given up, or never begun."""


@dataclass(frozen=True)
class Store:
    """The folder.

    Args:
        root: the registry's data folder.
        largest_file: bytes that a file of content may have.
    """

    root: Path
    largest_file: int

    def __post_init__(self) -> None:
        for folder in ("blobs", "uploads", "incoming", "checking"):
            (self.root / folder).mkdir(parents=True, exist_ok=True, mode=0o700)

    def blob(self, sha256: str) -> Path:
        """Where the content of this digest lies."""
        return self.root / "blobs" / sha256[:2] / sha256

    def limit(self, file: str) -> int:
        """How many bytes one of a release's files may have."""
        small = {MANIFEST_FILE: LARGEST_MANIFEST, SIGNATURE_FILE: LARGEST_SIGNATURES, LOG_FILE: LARGEST_EVIDENCE}
        return small.get(file, self.largest_file)

    def begin(self) -> str:
        """Begin an upload; its id."""
        upload = secrets.token_hex(16)
        (self.root / "uploads" / upload).mkdir(mode=0o700)
        return upload

    async def receive(self, upload: str, file: str, chunks: AsyncIterator[bytes]) -> str:
        """Take in one file; it appears whole or not at all.

        Args:
            upload: from `begin`.
            file: which of a release's files.
            chunks: its bytes.

        Returns:
            Its SHA-256 (hex).

        Raises:
            TooLarge: more came than `limit`.
            TimeoutError: nothing came for long.
            Gone: there is no such upload.
        """
        target = self._upload(upload) / file
        if file not in ALLOWED or not target.parent.is_dir():
            raise Gone
        aside = self.root / "incoming" / secrets.token_hex(16)
        digest, size, limit = hashlib.sha256(), 0, self.limit(file)
        try:
            async with await anyio.open_file(aside, "xb", buffering=BUFFER) as out:
                while True:
                    try:
                        with anyio.fail_after(STALL_SECONDS):
                            chunk = await anext(chunks)
                    except StopAsyncIteration:
                        break
                    size += len(chunk)
                    if size > limit:
                        raise TooLarge
                    digest.update(chunk)
                    await out.write(chunk)
                await out.flush()
                await run_sync(os.fsync, out.wrapped.fileno())
            _move(aside, target)
        finally:
            aside.unlink(missing_ok=True)
        return digest.hexdigest()

    def claim(self, upload: str) -> Path:
        """Close an upload: from now on it is ours alone, and its files no longer change.

        Raises:
            Gone: there is no such upload; of two who claim it, one gets it.
        """
        claimed = self.root / "checking" / upload
        _move(self._upload(upload), claimed)
        return claimed

    def keep(self, path: Path, sha256: str) -> None:
        """Move a checked file to where it is handed out from."""
        blob = self.blob(sha256)
        blob.parent.mkdir(exist_ok=True, mode=0o700)
        path.touch()  # an old orphan of the same content must not be swept from under us
        path.replace(blob)
        _flush(blob.parent)

    def keep_bytes(self, data: bytes) -> str:
        """Store content; its digest."""
        sha256 = hashlib.sha256(data).hexdigest()
        aside = self.root / "incoming" / secrets.token_hex(16)
        with aside.open("xb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        self.keep(aside, sha256)
        return sha256

    def drop(self, upload: str) -> None:
        """Forget an upload and what came of it."""
        for folder in ("uploads", "checking"):
            shutil.rmtree(self.root / folder / upload, ignore_errors=True)

    def sweep(self, used: Iterable[str]) -> None:
        """Clear away what interrupted uploads left behind, and content that no release names.

        Args:
            used: digests of all content that releases name.
        """
        now, used = time.time(), set(used)
        for path in self.root.glob("blobs/*/*"):
            if path.name not in used and _older(path, now - ORPHAN_SECONDS):
                path.unlink(missing_ok=True)
        for folder in ("uploads", "checking", "incoming"):
            for path in (self.root / folder).iterdir():
                if _older(path, now - 2 * UPLOAD_SECONDS):
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def _upload(self, upload: str) -> Path:
        if not ID.fullmatch(upload):
            raise Gone
        return self.root / "uploads" / upload


def _older(path: Path, than: float) -> bool:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime < than
    return False


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except FileNotFoundError:
        raise Gone from None


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
