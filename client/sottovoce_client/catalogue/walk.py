"""Walks a catalogue's folder and lists its files without opening them."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sottovoce.audio.decoding import AUDIO
from sottovoce.audio.reject_reason import RejectReason
from sottovoce_client.catalogue.tracks import Rejected

OTHER_AUDIO = frozenset({".aac", ".aif", ".aiff", ".alac", ".ape", ".m4a", ".mp4", ".wma", ".wv"})


@dataclass(frozen=True)
class Found:
    """A regular file that may be a track.

    Args:
        path: relative to the catalogue, with `/`.
        size: bytes.
        modified: nanoseconds since 1970.
        inode: the file's number in its file system.
    """

    path: str
    size: int
    modified: int
    inode: int


@dataclass(frozen=True)
class Ignored:
    """A file that is not part of a catalogue: hidden, or not audio by its name."""

    path: str


Entry = Found | Rejected | Ignored


def walk(root: Path) -> Iterator[Entry]:
    """List everything below a catalogue's folder, folder by folder, each sorted by name.

    Hidden files and folders are skipped. A link to a file of the catalogue counts as a file. A link to one of its
    folders is skipped, since the folder is listed in its own place (and loops of links end). A link that leads out of
    the catalogue is rejected.
    """
    real_root = os.path.realpath(root)
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(root / folder) as entries:
                children = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            yield _unreadable(folder, error)
            continue
        below = []
        for child in children:
            path = f"{folder}/{child.name}" if folder else child.name
            if child.name.startswith("."):
                yield Ignored(path)
            elif child.is_dir(follow_symlinks=False):
                below.append(path)
            elif child.is_symlink() and not _within(child.path, real_root):
                yield Rejected(path, RejectReason.OUTSIDE, "It is a link that leads out of the catalogue.")
            else:
                yield look(root, path)
        folders.extend(reversed(below))


def look(root: Path, path: str, *, listed: bool = False) -> Entry:
    """Classify one path below `root` by its name and kind.

    Args:
        root: the catalogue.
        path: relative to it, with `/`.
        listed: whether the sheet lists it, so that it is a track or unusable, never ignored.
    """
    suffix = PurePosixPath(path).suffix.lower()
    if not listed and suffix not in AUDIO | OTHER_AUDIO:
        return Ignored(path)
    try:
        facts = (root / path).stat()
    except OSError as error:
        return _unreadable(path, error)
    if not stat.S_ISREG(facts.st_mode):  # opening a pipe would block for ever
        return Rejected(path, RejectReason.NOT_AUDIO, "It is not a regular file.")
    if suffix in OTHER_AUDIO:
        message = f"'{suffix}' is not one of WAV, FLAC, OGG, Opus and MP3: convert it."
        return Rejected(path, RejectReason.NOT_AUDIO, message)
    return Found(path, facts.st_size, facts.st_mtime_ns, facts.st_ino)


def leads_out(root: Path, path: str) -> bool:
    """Whether a path, once its links are followed, lies outside the catalogue."""
    return not _within(os.fspath(root / path), os.path.realpath(root))


def _within(path: str, real_root: str) -> bool:
    real = os.path.realpath(path)
    return real == real_root or real.startswith(real_root.rstrip("/") + "/")


def _unreadable(path: str, error: OSError) -> Rejected:
    if isinstance(error, PermissionError):
        return Rejected(path or ".", RejectReason.NO_PERMISSION, "No permission to read it.")
    if isinstance(error, FileNotFoundError):
        return Rejected(path or ".", RejectReason.MISSING, "It does not exist.")
    return Rejected(path or ".", RejectReason.UNREADABLE, f"It cannot be read: {error.strerror}.")
