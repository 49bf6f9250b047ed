"""Atomic file writes: write aside, flush, rename."""

import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

from sottovoce.errors import ConfigurationError


def is_full(error: OSError) -> bool:
    """Whether an error says that the disk, or the user's share of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`; rename it onto `path` if the block succeeds, else remove it.

    The temporary name keeps the suffix of `path`, for libraries that choose a format by suffix.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.{os.getpid()}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
        flush_folder(path.parent)
    finally:
        with suppress(FileNotFoundError):
            aside.unlink()


_ASIDE = re.compile(r"\..+\.(\d+)\.[a-z0-9_]{8}(\.[^.]*)?")
"""Names that `written_aside` gives its files: the process's number is the group."""


def left_asides(folder: Path) -> list[Path]:
    """Temporary files that processes left in a folder when they were killed; they may hold secrets."""
    named = ((path, _ASIDE.fullmatch(path.name)) for path in sorted(folder.glob(".*")))
    return [path for path, name in named if name and not _alive(name[1])]


def clear_asides(folder: Path) -> None:
    """Remove `left_asides`."""
    for path in left_asides(folder):
        path.unlink(missing_ok=True)


def append_line(path: Path, line: bytes, *, mode: int) -> None:
    """Append a line to a file, all of it or nothing; it is on disk when this returns.

    Raises:
        OSError: it could not be written, as on a full disk. What was written of it is cut off again.
    """
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, mode)
    try:
        size = os.fstat(handle).st_size
        try:
            left = memoryview(line + b"\n")
            while left:
                left = left[os.write(handle, left) :]
            os.fsync(handle)
        except BaseException:
            os.ftruncate(handle, size)
            raise
    finally:
        os.close(handle)
    if not size:
        flush_folder(path.parent)


def cut_unfinished_line(path: Path) -> bytes:
    """Cut off what a file has after its last line break, as a crash leaves it; returns what was cut off."""
    if not path.exists():
        return b""
    with path.open("r+b") as file:
        data = file.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            file.truncate(whole)
            os.fsync(file.fileno())
    return data[whole:]


def flush_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut: otherwise a label could restart from an older state."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def expect_writable(folder: Path) -> None:
    """Check that files can be written to a folder, before there is anything to write. It need not exist yet.

    Raises:
        ConfigurationError: it is not writable, or part of its path is not a folder.
    """
    there = folder.absolute()
    while not os.path.lexists(there):
        there = there.parent
    if not there.is_dir():
        raise ConfigurationError(f"'{there.name}' is not a folder.", hint="Choose another output path.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigurationError(f"Cannot write to the folder '{there.name}'.", hint="Choose another output path.")


def write_bytes(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file atomically: a reader sees the old content or the new, never a part."""
    with written_aside(path) as aside:
        aside.write_bytes(data)
        aside.chmod(mode)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, as UTF-8."""
    write_bytes(path, text.encode())


_PARTIAL = ".partial"


@contextmanager
def new_home(root: Path) -> Iterator[Path]:
    """`folder_aside` for a new home, which its owner alone may enter.

    Raises:
        ConfigurationError: the folder has content, which is left untouched.
    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise ConfigurationError(
            "A home already exists there, or the folder is not empty.", hint="Choose another folder."
        )
    with folder_aside(root) as aside:
        aside.chmod(0o700)
        yield aside


@contextmanager
def folder_aside(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; rename it onto `path` if the block succeeds, else remove it.

    Until then the old content of `path` stays in place. A killed process leaves a hidden folder behind, which the next
    call for the same path removes; if it was killed between its two renames, that call first restores `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_partials(path.parent, path.name)
    aside = path.parent / f".{path.name}.{os.getpid()}{_PARTIAL}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
        _flush_tree(aside)
        if path.exists():
            old = path.parent / f".{path.name}.old.{os.getpid()}{_PARTIAL}"
            path.rename(old)
            aside.rename(path)
            flush_folder(path.parent)
            shutil.rmtree(old)
        else:
            aside.rename(path)
            flush_folder(path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def left_partials(parent: Path, name: str | None = None) -> list[Path]:
    """Hidden folders that killed processes left beside the folder `name`, or beside any folder of a parent."""
    pattern = f".{escape(name)}.*{_PARTIAL}" if name else f".*{_PARTIAL}"
    return [each for each in sorted(parent.glob(pattern)) if not _alive(each.name.split(".")[-2])]


def clear_partials(parent: Path, name: str | None = None) -> None:
    """Remove `left_partials`, after restoring a folder whose process was killed between its two renames."""
    left = left_partials(parent, name)
    for old in left:
        restored, marked, _ = old.name[1:].rpartition(".old.")
        if marked and not (parent / restored).exists():
            old.rename(parent / restored)
    for each in left:
        shutil.rmtree(each, ignore_errors=True)


def _flush_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    for inner in (folder, *(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())):
        flush_folder(inner)


def _alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True
