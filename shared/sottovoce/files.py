"""Files that are whole or absent: write aside, flush, rename."""

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


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`, renamed onto it when the block ends well and removed when it does not.

    The temporary name keeps the suffix of `path`, for libraries that choose a format by it.
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
        _flush_folder(path.parent)
    finally:
        with suppress(FileNotFoundError):
            aside.unlink()


_ASIDE = re.compile(r"\..+\.(\d+)\.[a-z0-9_]{8}(\.[^.]*)?")
"""Names that `written_aside` gives its files: the process's number is the group."""


def clear_asides(folder: Path) -> None:
    """Remove the temporary files that processes left in a folder when they were killed; they may hold secrets."""
    for path in folder.glob(".*"):
        named = _ASIDE.fullmatch(path.name)
        if named and not _alive(named[1]):
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
        _flush_folder(path.parent)


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


def _flush_folder(folder: Path) -> None:
    """After a power cut, too, a name means the new file: without this, a label could wake up with an older state."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def expect_writable(folder: Path) -> None:
    """Refuse a folder in which nothing can be written, before there is anything to write; it may yet have to be made.

    Raises:
        ConfigurationError: it cannot be written to, or something on the way to it is no folder.
    """
    there = folder.absolute()
    while not os.path.lexists(there):
        there = there.parent
    if not there.is_dir():
        raise ConfigurationError(f"'{there.name}' is no folder.", hint="Give another place for the output.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigurationError(f"Nothing can be written to the folder '{there.name}'.", hint="Give another place.")


def write_bytes(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a whole file at once; a reader sees the old content or the new, never a part."""
    with written_aside(path) as aside:
        aside.write_bytes(data)
        aside.chmod(mode)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file at once, as UTF-8."""
    write_bytes(path, text.encode())


_PARTIAL = ".partial"


@contextmanager
def folder_aside(path: Path) -> Iterator[Path]:
    """An empty folder beside `path`, renamed onto it when the block ends well and removed when it does not.

    What stood at `path` before stays until then, and is removed after. A process that is killed leaves a hidden folder
    beside it, which the next call for the same path clears away; where it was killed between its two renames, that
    call first puts back what stood at `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    left = [
        each for each in path.parent.glob(f".{escape(path.name)}.*{_PARTIAL}") if not _alive(each.name.split(".")[-2])
    ]
    for old in left:
        if old.name.startswith(f".{path.name}.old.") and not path.exists():
            old.rename(path)
    for each in left:
        shutil.rmtree(each, ignore_errors=True)
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
            _flush_folder(path.parent)
            shutil.rmtree(old)
        else:
            aside.rename(path)
            _flush_folder(path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _flush_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    for inner in (folder, *(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())):
        _flush_folder(inner)


def _alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True
