"""The registry's files: complete ones by digest, partial ones aside. External names never become paths.

blobs/ab/abcdef…      published content, by SHA-256
uploads/ID/FILE       uploads in progress; FILE is one of a release's names
incoming/RANDOM       files being received
checking/ID           an upload being verified: nothing can be added to it
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
from sottovoce.files import flush_folder
from sottovoce.release.check import ALLOWED, LARGEST_MANIFEST, LARGEST_SIGNATURES
from sottovoce.release.manifest import LOG_FILE, MANIFEST_FILE, SIGNATURE_FILE
from sottovoce_server.registry.settings import STALL_SECONDS, UPLOAD_SECONDS

ID = re.compile(r"[0-9a-f]{32}")
ORPHAN_SECONDS = 24 * 3600
BUFFER = 1 << 20


class TooLarge(Exception):
    """More bytes arrived than a file may have."""


class Gone(Exception):
    """There is no such upload: it was published, abandoned, or never begun."""


@dataclass(frozen=True)
class Store:
    """The registry's data folder.

    Args:
        root: the registry's data folder.
        largest_file: largest size of a content file, bytes.
    """

    root: Path
    largest_file: int

    def __post_init__(self) -> None:
        for folder in ("blobs", "uploads", "incoming", "checking"):
            (self.root / folder).mkdir(parents=True, exist_ok=True, mode=0o700)

    def blob(self, sha256: str) -> Path:
        """Path of the content with this digest."""
        return self.root / "blobs" / sha256[:2] / sha256

    def limit(self, file: str) -> int:
        """Largest size of one of a release's files, bytes."""
        small = {MANIFEST_FILE: LARGEST_MANIFEST, SIGNATURE_FILE: LARGEST_SIGNATURES, LOG_FILE: LARGEST_EVIDENCE}
        return small.get(file, self.largest_file)

    def begin(self) -> str:
        """Begin an upload and return its id."""
        upload = secrets.token_hex(16)
        (self.root / "uploads" / upload).mkdir(mode=0o700)
        return upload

    async def receive(self, upload: str, file: str, chunks: AsyncIterator[bytes]) -> str:
        """Receive one file; it is stored completely or not at all.

        Args:
            upload: from `begin`.
            file: one of a release's files.
            chunks: its bytes.

        Returns:
            Its SHA-256 (hex).

        Raises:
            TooLarge: it is larger than `limit`.
            TimeoutError: no data arrived for too long.
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
        """Close an upload for verification: its files can no longer change.

        Raises:
            Gone: there is no such upload, or it was claimed already.
        """
        claimed = self.root / "checking" / upload
        _move(self._upload(upload), claimed)
        return claimed

    def keep(self, path: Path, sha256: str) -> None:
        """Move a verified file to the published content."""
        blob = self.blob(sha256)
        blob.parent.mkdir(exist_ok=True, mode=0o700)
        path.touch()  # keep `sweep` from removing an old orphan with the same content
        path.replace(blob)
        for folder in (blob.parent, blob.parent.parent):  # the latter because the former may be new
            flush_folder(folder)

    def keep_bytes(self, data: bytes) -> str:
        """Store content and return its digest."""
        sha256 = hashlib.sha256(data).hexdigest()
        aside = self.root / "incoming" / secrets.token_hex(16)
        with aside.open("xb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        self.keep(aside, sha256)
        return sha256

    def drop(self, upload: str) -> None:
        """Delete an upload."""
        for folder in ("uploads", "checking"):
            shutil.rmtree(self.root / folder / upload, ignore_errors=True)

    def sweep(self, used: Iterable[str]) -> None:
        """Delete remains of interrupted uploads, and content that no release uses.

        Args:
            used: digests of all content in use.
        """
        for path in self.remains(used):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def remains(self, used: Iterable[str]) -> list[Path]:
        """What `sweep` deletes."""
        now, used = time.time(), set(used)
        orphans = [path for path in self.root.glob("blobs/*/*") if path.name not in used]
        unfinished = [path for name in ("uploads", "checking", "incoming") for path in (self.root / name).iterdir()]
        return [
            *(path for path in orphans if _older(path, now - ORPHAN_SECONDS)),
            *(path for path in unfinished if _older(path, now - 2 * UPLOAD_SECONDS)),
        ]

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
