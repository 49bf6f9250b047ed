"""Files that are whole or absent: write aside, flush, rename."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
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
    beside it, which the next call for the same path clears away.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*{_PARTIAL}"):
        if not _alive(left.name.split(".")[-2]):
            shutil.rmtree(left, ignore_errors=True)
    aside = path.parent / f".{path.name}.{os.getpid()}{_PARTIAL}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
        if path.exists():
            old = path.parent / f".{path.name}.old.{os.getpid()}{_PARTIAL}"
            path.rename(old)
            aside.rename(path)
            shutil.rmtree(old)
        else:
            aside.rename(path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True
