"""SQLite's own files on a disk that fails: its default way to the file system is wrapped, for every new connection.

SQLite reaches files through a table of functions (https://www.sqlite.org/vfs.html). Here each change of a file - one is
opened to be made, written, truncated, flushed, deleted - is counted by a `Disk` first, which may let it fail.
"""

import _sqlite3
import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p, cast
from pathlib import Path
from typing import Any, Protocol

OK, IOERR_WRITE, IOERR_FSYNC, IOERR_TRUNCATE, IOERR_DELETE, FULL, CANTOPEN = 0, 778, 1034, 1546, 2570, 13, 14
CREATE, JOURNALS = 0x4, 0x800 | 0x4000 | 0x80000  # SQLITE_OPEN_MAIN_JOURNAL, _SUPER_JOURNAL, _WAL

_Close = CFUNCTYPE(c_int, c_void_p)
_Write = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_Truncate = CFUNCTYPE(c_int, c_void_p, c_int64)
_Sync = CFUNCTYPE(c_int, c_void_p, c_int)
_Open = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_Delete = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)


class _Methods(Structure):
    """`sqlite3_io_methods`: what can be done with an open file."""

    _fields_ = (
        ("version", c_int),
        ("close", _Close),
        ("read", c_void_p),
        ("write", _Write),
        ("truncate", _Truncate),
        ("sync", _Sync),
        *((f"other{number}", c_void_p) for number in range(13)),
    )


class _File(Structure):
    """`sqlite3_file`; SQLite's own part of it follows."""

    _fields_ = (("methods", POINTER(_Methods)),)


class _Vfs(Structure):
    """`sqlite3_vfs`: how files are opened and deleted."""

    _fields_ = (
        ("version", c_int),
        ("file_size", c_int),
        ("longest_path", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", _Open),
        ("delete", _Delete),
        *((f"other{number}", c_void_p) for number in range(14)),
    )


class Watcher(Protocol):
    """What is asked before each change."""

    def change(self, path: Path, what: str) -> bool:
        """Whether the change fails."""

    def flushed(self, path: Path, *, new: bool) -> None:
        """A file was flushed; a new journal's name is, too."""

    def names_flushed(self, folder: Path) -> None:
        """A folder's names were flushed."""

    @property
    def writes_short(self) -> bool:
        """Whether half of a write that fails is done."""


class _Wrapped:
    """SQLite's default file system, with a watcher asked before each change."""

    def __init__(self, watcher: Watcher) -> None:
        self._library: Any = ctypes.CDLL(_sqlite3.__file__)
        self._library.sqlite3_vfs_find.restype = POINTER(_Vfs)
        self._library.sqlite3_vfs_find.argtypes = [c_char_p]
        self._library.sqlite3_vfs_register.argtypes = [c_void_p, c_int]
        self._library.sqlite3_vfs_unregister.argtypes = [c_void_p]
        self._watcher = watcher
        self._real = self._library.sqlite3_vfs_find(None)
        self._methods: dict[int, _Methods] = {}
        self._paths: dict[int, tuple[Path, bool]] = {}
        self._vfs = _Vfs.from_buffer_copy(self._real.contents)
        self._vfs.name = b"watched"
        self._vfs.open, self._vfs.delete = _Open(self._open), _Delete(self._delete)

    def register(self) -> None:
        self._library.sqlite3_vfs_register(ctypes.addressof(self._vfs), 1)

    def unregister(self) -> None:
        self._library.sqlite3_vfs_unregister(ctypes.addressof(self._vfs))
        self._library.sqlite3_vfs_register(cast(self._real, c_void_p), 1)

    def _open(self, vfs: int, name: int, file: int, flags: int, out: int) -> int:
        path = Path(os.fsdecode(cast(name, c_char_p).value or b"")) if name else None
        new = path is not None and bool(flags & CREATE) and not path.exists()
        if path is not None and new and self._watcher.change(path, "open"):
            cast(file, POINTER(_File)).contents.methods = POINTER(_Methods)()
            return CANTOPEN
        result = int(self._real.contents.open(cast(self._real, c_void_p).value, name, file, flags, out))
        if result == OK and path is not None:
            opened = cast(file, POINTER(_File)).contents
            opened.methods = ctypes.pointer(self._watched(opened.methods))
            self._paths[file] = path, new and bool(flags & JOURNALS)
        return result

    def _delete(self, vfs: int, name: bytes, flush: int) -> int:
        path = Path(os.fsdecode(name))
        if path.exists() and self._watcher.change(path, "delete"):
            return IOERR_DELETE
        result = int(self._real.contents.delete(cast(self._real, c_void_p).value, name, flush))
        if result == OK and flush:
            self._watcher.names_flushed(path.parent)
        return result

    def _watched(self, real: Any) -> _Methods:
        key = cast(real, c_void_p).value or 0
        if key not in self._methods:
            original = real.contents
            made = _Methods.from_buffer_copy(original)
            made.write = _Write(self._writing(original.write))
            made.truncate = _Truncate(self._changing(original.truncate, "truncate", IOERR_TRUNCATE))
            made.sync = _Sync(self._syncing(original.sync))
            self._methods[key] = made
        return self._methods[key]

    def _changing(self, real: Callable[..., int], what: str, error: int) -> Callable[..., int]:
        def change(file: int, value: int) -> int:
            return error if self._watcher.change(self._paths[file][0], what) else int(real(file, value))

        return change

    def _writing(self, real: Callable[..., int]) -> Callable[..., int]:
        def write(file: int, data: int, size: int, start: int) -> int:
            if not self._watcher.change(self._paths[file][0], "write"):
                return int(real(file, data, size, start))
            if self._watcher.writes_short:
                real(file, data, size // 2, start)
            return FULL

        return write

    def _syncing(self, real: Callable[..., int]) -> Callable[..., int]:
        def sync(file: int, flags: int) -> int:
            path, new = self._paths[file]
            if self._watcher.change(path, "sync"):
                return IOERR_FSYNC
            result = int(real(file, flags))
            self._watcher.flushed(path, new=new)
            self._paths[file] = path, False
            return result

        return sync


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Connections that are opened within this block, and are closed before its end, ask the watcher."""
    wrapped = _Wrapped(watcher)
    wrapped.register()
    try:
        yield
    finally:
        wrapped.unregister()
