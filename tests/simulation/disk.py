"""The disk of the simulation: files in memory that know what of them was flushed, under `os` and `io.open`.

Every change is an *effect*: before it, the process may be killed, the machine may lose its power, or the disk may be
full. A machine that loses its power keeps what was flushed, and of the rest whatever the schedule decides.
"""

import builtins
import errno
import io
import os
import shutil
import stat as kinds
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import pytest

ROOT = "/simulated"
UNREAD = ("timings.jsonl",)
"""Files that nobody but people reads: they are written, but stay empty, so that fewer states differ."""
FIRST_HANDLE = 1 << 24
"""Number of the first simulated file handle, above any that the operating system gives out."""


@dataclass(eq=False)
class File:
    """A file: what processes see, and what a power cut leaves (None: nothing)."""

    data: bytes = b""
    flushed: bytes | None = None
    mode: int = 0o600
    number: int = 0
    changed: float = 0.0
    """Time of the latest write, seconds since 1970."""
    holder: object = None
    """Process that holds the lock on this file, or None."""


@dataclass(eq=False)
class Folder:
    """A folder: its names as processes see them, and as a power cut leaves them."""

    names: "dict[str, File | Folder]" = field(default_factory=dict)
    flushed: "dict[str, File | Folder]" = field(default_factory=dict)
    mode: int = 0o700
    number: int = 0
    digest: bytes = b""
    """What identifies the content of a frozen machine's folder; empty: it may change."""


class Effects(Protocol):
    """Decides what happens at an effect; see `processes.Processes`."""

    def effect(self, what: str) -> str | None:
        """Count an effect of the running process. Returns what `Processes.effect` does; may end the process."""

    def now(self) -> float:
        """What wall clocks show, seconds since 1970."""


class Disk:
    """A tree of files.

    Args:
        effects: is told of every change before it happens.
    """

    def __init__(self, effects: Effects) -> None:
        self.root = Folder()
        self._effects = effects
        self._numbers = count(1)
        self._handles: dict[int, tuple[File | Folder, str, bool]] = {}
        self._next = count(FIRST_HANDLE)

    def clone(self, effects: Effects, frozen: "dict[bytes, Folder]") -> "Disk":
        """A copy that goes on by itself. It shares the machines' folders, which are frozen.

        Args:
            effects: as for the class.
            frozen: all frozen folders so far, by digest.
        """
        copy = Disk(effects)
        copy._numbers = count(next(self._numbers) + 1)
        for machine in self.root.names:
            copy.put(machine, self.freeze(machine, frozen))
        return copy

    def machine(self, name: str) -> Folder:
        """A machine's folder."""
        folder = self.root.names[name]
        assert isinstance(folder, Folder)
        return folder

    def put(self, machine: str, folder: Folder) -> None:
        """Let a machine have this folder."""
        self.root.names[machine] = self.root.flushed[machine] = folder

    def freeze(self, machine: str, frozen: "dict[bytes, Folder]") -> Folder:
        """A machine's folder, which must not change any more; the same one for the same content."""
        folder = self.machine(machine)
        if not folder.digest:
            digest = digest_of(folder)
            folder = frozen.setdefault(digest, folder)
            folder.digest = digest
            self.put(machine, folder)
        return folder

    def thaw(self, machine: str) -> None:
        """Let a machine's folder be one that may change."""
        if self.machine(machine).digest:
            self.put(machine, copy_of(self.machine(machine)))

    def load(self, source: str, name: str) -> None:
        """Put a folder of the real disk at `ROOT/name`, flushed."""

        def read(path: str) -> Folder:
            folder = Folder(number=next(self._numbers))
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_dir():
                        folder.names[entry.name] = read(entry.path)
                    else:
                        data = Path(entry.path).read_bytes()
                        mode = kinds.S_IMODE(entry.stat().st_mode)
                        folder.names[entry.name] = File(data, data, mode, next(self._numbers))
            folder.flushed = dict(folder.names)
            return folder

        self.root.names[name] = self.root.flushed[name] = read(source)

    def power_cut(self, machine: str, choose: Callable[[str, int], int]) -> None:
        """Bring a machine's folder to what a power cut leaves of it.

        Args:
            machine: name of the folder in the root.
            choose: decides what becomes of something that was not flushed: of 0 to n - 1, 0 is the flushed state.
        """

        def settle(folder: Folder, path: str) -> None:
            for name in {**folder.flushed, **folder.names}:
                here, there = folder.names.get(name), folder.flushed.get(name)
                stays = here if here is not there and choose(f"name {path}/{name}", 2) else there
                if stays is None:
                    folder.names.pop(name, None)
                else:
                    folder.names[name] = stays
            for name, node in folder.names.items():
                if isinstance(node, Folder):
                    settle(node, f"{path}/{name}")
                elif node.data != node.flushed:
                    left = choose(f"content {path}/{name}", 3)
                    kept = node.flushed or b""
                    sure = len(kept) if node.data.startswith(kept) else 0
                    torn = node.data[: (sure + len(node.data)) // 2]
                    node.data = (kept, node.data, torn)[left]
                    node.flushed = node.data
            folder.flushed = dict(folder.names)

        self.thaw(machine)
        settle(self.machine(machine), machine)

    def close_all(self) -> None:
        """All processes are gone: so are their handles and locks."""
        self._handles.clear()

    # What the operating system does ---------------------------------------------------------------------------------

    def find(self, path: str) -> "File | Folder | None":
        """What is at a path; None if nothing is."""
        node: File | Folder | None = self.root
        for part in path[len(ROOT) + 1 :].split("/"):
            if part in ("", "."):
                continue
            if not isinstance(node, Folder):
                return None
            node = node.names.get(part)
        return node

    def _parent(self, path: str) -> tuple[Folder, str]:
        above, _, name = path.rstrip("/").rpartition("/")
        folder = self.find(above)
        if not isinstance(folder, Folder):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return folder, name

    def _must(self, path: str) -> File | Folder:
        node = self.find(path)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return node

    def _change(self, what: str) -> str | None:
        failed = self._effects.effect(what)
        if failed == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return failed

    def node(self, where: "str | int") -> File | Folder:
        """What a path or a handle means."""
        return self._handles[where][0] if isinstance(where, int) else self._must(where)

    def open(self, path: str, flags: int, mode: int = 0o777, **_: object) -> int:
        node = self.find(path)
        if node is None:
            if not flags & os.O_CREAT:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            folder, name = self._parent(path)
            self._change(f"create {name}")
            node = folder.names[name] = File(mode=mode & 0o777, number=next(self._numbers), changed=self._effects.now())
        elif flags & os.O_EXCL and flags & os.O_CREAT:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        elif flags & os.O_TRUNC and isinstance(node, File) and node.data:
            self._change(f"truncate {path.rpartition('/')[2]}")
            node.data = b""
        handle = next(self._next)
        self._handles[handle] = node, path.rpartition("/")[2], bool(flags & os.O_APPEND)
        return handle

    def close(self, handle: int) -> None:
        self._handles.pop(handle, None)

    def write_at(self, handle: int, data: bytes, at: int | None = None) -> int:
        """Write at a place, or at the end; returns the number of bytes written."""
        node, name, _ = self._handles[handle]
        assert isinstance(node, File)
        wanted = bytes(data)
        failed = self._change(f"write {name}")
        if failed:
            wanted = wanted[: len(wanted) // 2]
        if name in UNREAD:
            return len(wanted)
        place = len(node.data) if at is None else at
        node.data = node.data[:place] + wanted + node.data[place + len(wanted) :]
        node.changed = self._effects.now()
        if failed == "torn":
            self._effects.effect("the end")
        return len(wanted)

    def truncate(self, handle: int, size: int) -> None:
        node, name, _ = self._handles[handle]
        assert isinstance(node, File)
        self._effects.effect(f"truncate {name}")  # a full disk does not hinder it
        node.data = node.data[:size].ljust(size, b"\0")

    def fsync(self, handle: int) -> None:
        node, name, _ = self._handles[handle]
        self._change(f"flush {name}")
        if isinstance(node, File):
            node.flushed = node.data
        else:
            node.flushed = dict(node.names)

    def stat(self, where: "str | int", **_: object) -> os.stat_result:
        node = self.node(where)
        kind, size = (kinds.S_IFREG, len(node.data)) if isinstance(node, File) else (kinds.S_IFDIR, 0)
        changed = node.changed if isinstance(node, File) else 0.0
        return os.stat_result((kind | node.mode, node.number, 1, 1, 0, 0, size, changed, changed, changed))

    def mkdir(self, path: str, mode: int = 0o777, **_: object) -> None:
        if self.find(path) is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        folder, name = self._parent(path)
        self._change(f"mkdir {name}")
        folder.names[name] = Folder(mode=mode, number=next(self._numbers))

    def chmod(self, path: str, mode: int, **_: object) -> None:
        self._must(path).mode = mode

    def unlink(self, path: str, **_: object) -> None:
        self._must(path)
        folder, name = self._parent(path)
        self._effects.effect(f"unlink {name}")  # a full disk does not hinder it
        folder.names.pop(name, None)

    def rename(self, source: str, target: str, **_: object) -> None:
        node = self._must(source)
        old, was = self._parent(source)
        new, name = self._parent(target)
        there = new.names.get(name)
        if isinstance(there, Folder) and there.names:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), target)
        self._change(f"rename {name}")
        del old.names[was]
        new.names[name] = node

    def listdir(self, path: str = ".") -> list[str]:
        node = self._must(path)
        if not isinstance(node, Folder):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        return sorted(node.names)

    @contextmanager
    def scandir(self, path: str) -> Iterator[Iterator[Any]]:
        names = [_entry(self, path, name) for name in self.listdir(path)]
        yield iter(names)

    def rmtree(self, path: str, ignore_errors: bool = False) -> None:
        node = self.find(path)
        if node is None:
            if ignore_errors:
                return
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if isinstance(node, Folder):
            for name in list(node.names):
                self.rmtree(f"{path}/{name}")
        folder, name = self._parent(path)
        self._effects.effect(f"unlink {name}")
        folder.names.pop(name, None)

    def file(self, where: "str | int", mode: str = "r", buffering: int = -1, *texts: Any, **options: Any) -> Any:
        """What `open` returns."""
        writes = any(letter in mode for letter in "wax+")
        if not writes:
            node = self.node(where)
            if isinstance(node, Folder):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), where)
            raw: Any = _Read(self, where if isinstance(where, int) else self.open(where, 0), node.data)
        else:
            handle = where if isinstance(where, int) else self.open(where, _flags(mode))
            raw = _Written(self, handle, end="a" in mode, reads="+" in mode)
            if buffering != 0:
                raw = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return raw if "b" in mode else io.TextIOWrapper(raw, *texts, **options)


def copy_of(folder: Folder) -> Folder:
    """A copy that shares nothing but the bytes."""
    known: dict[int, File | Folder] = {}

    def of(node: File | Folder) -> File | Folder:
        made = known.get(id(node))
        if made is None:
            if isinstance(node, File):
                made = known[id(node)] = File(node.data, node.flushed, node.mode, node.number, node.changed)
            else:
                made = known[id(node)] = Folder({}, {}, node.mode, node.number)
                made.names.update((name, of(inner)) for name, inner in node.names.items())
                made.flushed.update((name, of(inner)) for name, inner in node.flushed.items())
        return made

    made = of(folder)
    assert isinstance(made, Folder)
    return made


def digest_of(folder: Folder) -> bytes:
    """Digest of all that processes and power cuts can tell apart (16 bytes)."""
    hasher = blake2b(digest_size=16)
    known: dict[int, int] = {}

    def add(node: File | Folder) -> None:
        number = known.get(id(node))
        if number is not None:
            hasher.update(b"again %d" % number)
            return
        known[id(node)] = len(known)
        if isinstance(node, File):
            sizes = len(node.data), -1 if node.flushed is None else len(node.flushed), node.flushed == node.data
            hasher.update(repr((*sizes, node.mode, node.changed)).encode())
            hasher.update(node.data)
            if node.flushed != node.data:
                hasher.update(node.flushed or b"")
            return
        names, flushed = sorted(node.names), sorted(node.flushed)
        hasher.update(repr((names, flushed, node.mode)).encode())
        for name in names:
            add(node.names[name])
        for name in flushed:
            add(node.flushed[name])

    add(folder)
    return hasher.digest()


def _flags(mode: str) -> int:
    if "w" in mode:
        return os.O_CREAT | os.O_TRUNC
    return os.O_CREAT | os.O_EXCL if "x" in mode else os.O_CREAT if "a" in mode else 0


def _entry(disk: Disk, folder: str, name: str) -> SimpleNamespace:
    path = f"{folder}/{name}"
    is_folder = isinstance(disk.find(path), Folder)
    return SimpleNamespace(
        name=name,
        path=path,
        is_dir=lambda **_: is_folder,
        is_file=lambda **_: not is_folder,
        is_symlink=lambda: False,
        stat=lambda **_: disk.stat(path),
    )


class _Read(io.BytesIO):
    """A file opened for reading."""

    def __init__(self, disk: Disk, handle: int, data: bytes) -> None:
        super().__init__(data)
        self._disk, self._handle = disk, handle

    def fileno(self) -> int:
        return self._handle

    def close(self) -> None:
        self._disk.close(self._handle)
        super().close()


class _Written(io.RawIOBase):
    """A file opened for writing: each `write` is an effect."""

    def __init__(self, disk: Disk, handle: int, *, end: bool, reads: bool) -> None:
        self._disk, self._handle, self._end, self._reads = disk, handle, end, reads
        self._at = 0

    @property
    def _data(self) -> bytes:
        return self._disk.node(self._handle).data  # type: ignore[union-attr]

    def fileno(self) -> int:
        return self._handle

    def readable(self) -> bool:
        return self._reads

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = (0, self._at, len(self._data))[whence] + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        part = self._data[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)

    def write(self, data: Any) -> int:
        written = self._disk.write_at(self._handle, data, None if self._end else self._at)
        self._at = len(self._data) if self._end else self._at + written
        return written

    def truncate(self, size: int | None = None) -> int:
        self._disk.truncate(self._handle, self._at if size is None else size)
        return self._at

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._disk.close(self._handle)


def mount(patch: pytest.MonkeyPatch, now: Callable[[], Disk]) -> None:
    """Lay a disk under `os`, `io.open` and `shutil.rmtree`, for paths below `ROOT`.

    Args:
        patch: of pytest.
        now: the disk at the moment.
    """

    def simulated(where: Any) -> str | int | None:
        if type(where) is int:
            return where if where >= FIRST_HANDLE else None
        try:
            path = os.fspath(where)
        except TypeError:
            return None
        return path if isinstance(path, str) and path.startswith(ROOT) else None

    def lay(module: Any, name: str, ours: str, *, two: bool = False) -> None:
        real = getattr(module, name)

        def call(where: Any = ".", *arguments: Any, **options: Any) -> Any:
            path = simulated(where)
            if path is None:
                return real(where, *arguments, **options)
            if two:
                arguments = (os.fspath(arguments[0]), *arguments[1:])
            return getattr(now(), ours)(path, *arguments, **options)

        patch.setattr(module, name, call)

    for name in ("open", "close", "fsync", "stat", "mkdir", "chmod", "unlink", "listdir", "scandir"):
        lay(os, name, name)
    lay(os, "fstat", "stat")
    lay(os, "lstat", "stat")
    lay(os, "remove", "unlink")
    lay(os, "ftruncate", "truncate")
    lay(os, "write", "write_at")
    for name in ("rename", "replace"):
        lay(os, name, "rename", two=True)
    lay(shutil, "rmtree", "rmtree")
    lay(io, "open", "file")
    patch.setattr(builtins, "open", io.open)
