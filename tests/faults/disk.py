"""A disk that fails: the n-th change of a file fails, is written short, or is the last one before the machine stops.

It stands under `os` and `io.open`, and under SQLite. What a machine loses when it stops is what was not flushed: a
file's content without its own `fsync`, a name without its folder's.
"""

import builtins
import errno
import io
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import SQLAlchemyError
from tests.faults.sqlite_files import watched

from sottovoce.errors import SottovoceError


class Fault(StrEnum):
    """What happens at the chosen call, and after it."""

    FULL = "the disk is full"  # this call fails, later ones work: a cleaning up may succeed
    SHORT = "the disk is nearly full"  # half of a write, then as above
    KILLED = "the process is killed"  # no later call has an effect
    POWER = "the power goes"  # and what was not flushed is lost


class Stopped(BaseException):
    """The process is no more."""


@dataclass
class Disk:
    """A folder on a disk that fails at one call.

    Args:
        root: the folder that is watched; what happens elsewhere is let be.
        fault: what happens.
        at: at which call, from 0; None for a disk that only counts.
    """

    root: Path
    fault: Fault = Fault.FULL
    at: int | None = None
    calls: int = 0
    _stopped: bool = False
    _contents: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    _names: dict[int, dict[str, tuple[int, bool]]] = field(default_factory=dict)

    @contextmanager
    def mounted(self, monkeypatch: pytest.MonkeyPatch) -> Iterator["Disk"]:
        """Everything that is written in this block goes through the disk."""
        self._remember()
        with monkeypatch.context() as patch:
            for name in ("replace", "rename", "unlink", "remove", "mkdir", "rmdir", "ftruncate", "chmod"):
                patch.setattr(os, name, self._changing(getattr(os, name)))
            patch.setattr(os, "open", self._opening(os.open))
            patch.setattr(os, "write", self._writing(os.write))
            patch.setattr(os, "fsync", self._flushing(os.fsync))
            opened = self._file(io.open)
            patch.setattr(io, "open", opened)
            patch.setattr(builtins, "open", opened)
            with watched(self):
                yield self

    def change(self, path: Path, what: str) -> bool:
        """Whether SQLite's change of a file fails: a function of SQLite's cannot be left by an exception."""
        try:
            return self._ours(path) and self._call()
        except Stopped:
            return True

    def flushed(self, path: Path, *, new: bool) -> None:
        if self._ours(path):
            self._keep(path)
            if new:
                self._flushed_folder(path.parent)

    def names_flushed(self, folder: Path) -> None:
        if self._ours(folder):
            self._flushed_folder(folder)

    @property
    def writes_short(self) -> bool:
        return self.fault is Fault.SHORT

    def _remember(self) -> None:
        for folder in [self.root, *(path for path in self.root.rglob("*") if path.is_dir())]:
            self._flushed_folder(folder)
            for path in folder.iterdir():
                if path.is_file():
                    self._keep(path)

    def _keep(self, path: Path) -> None:
        self._contents[path.stat().st_ino] = path.read_bytes(), path.stat().st_mode

    def _flushed_folder(self, folder: Path) -> None:
        names = {path.name: (path.stat().st_ino, path.is_dir()) for path in folder.iterdir()}
        self._names[folder.stat().st_ino] = names

    def restore(self) -> None:
        """After the power went: bring the folder to what was flushed."""
        number = self.root.stat().st_ino
        for path in list(self.root.iterdir()):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._fill(self.root, number)

    def _fill(self, folder: Path, number: int) -> None:
        for name, (inner, is_folder) in self._names.get(number, {}).items():
            if is_folder:
                (folder / name).mkdir()
                self._fill(folder / name, inner)
            else:
                content, mode = self._contents.get(inner, (b"", 0o600))
                (folder / name).write_bytes(content)
                (folder / name).chmod(mode)

    def _ours(self, where: Any) -> bool:
        if isinstance(where, int):
            where = _path_of(where)
        try:
            return Path(os.fsdecode(where)).absolute().is_relative_to(self.root)
        except TypeError:
            return False

    def _call(self) -> bool:
        """Count a change; whether it is the chosen one. After the end there are none."""
        if self._stopped:
            raise Stopped
        chosen = self.calls == self.at
        self.calls += 1
        if chosen and self.fault in (Fault.KILLED, Fault.POWER):
            self._stopped = True
            raise Stopped
        return chosen

    def _changing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def change(where: Any, *arguments: Any, **options: Any) -> Any:
            if self._ours(where) and self._call() and real is not os.unlink:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(where, *arguments, **options)

        return change

    def _opening(self, real: Callable[..., int]) -> Callable[..., int]:
        def opening(where: Any, flags: int, *arguments: Any, **options: Any) -> int:
            if flags & os.O_CREAT and self._ours(where) and not str(where).endswith(".lock") and self._call():
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(where, flags, *arguments, **options)

        return opening

    def _writing(self, real: Callable[..., int]) -> Callable[..., int]:
        def writing(handle: int, data: Any) -> int:
            if not self._ours(handle):
                return real(handle, data)
            if not self._call():
                return real(handle, data)
            if self.fault is Fault.SHORT:
                self.at, self.fault = self.calls, Fault.FULL  # and nothing more
                return real(handle, bytes(data)[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

        return writing

    def _flushing(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def flushing(handle: int) -> None:
            if self._ours(handle):
                if self._call():
                    raise OSError(errno.EIO, "Input/output error")
                path = _path_of(handle)
                if path.is_dir():
                    self._flushed_folder(path)
                elif path.exists():
                    self._keep(path)
            real(handle)

        return flushing

    def _file(self, real: Callable[..., Any]) -> Callable[..., Any]:
        disk = self

        class Raw(io.FileIO):
            def write(self, data: Any) -> int:
                return os.write(self.fileno(), data)

            def truncate(self, size: int | None = None) -> int:
                disk._call()
                return super().truncate(size)

        def opened(where: Any, mode: str = "r", buffering: int = -1, *texts: Any, **options: Any) -> Any:
            writes = any(letter in mode for letter in "wax+")
            if not writes or not self._ours(where):
                return real(where, mode, buffering, *texts, **options)
            if not isinstance(where, int) and self._call():
                raise OSError(errno.ENOSPC, "No space left on device")
            raw = Raw(where, mode.replace("b", "").replace("t", ""))
            if buffering == 0:
                return raw
            buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, *texts, **options)

        return opened


def _path_of(handle: int) -> Path:
    return Path(f"/proc/self/fd/{handle}").readlink()


def every_fault(
    operation: Callable[[Path], object],
    fresh: Callable[[], Path],
    monkeypatch: pytest.MonkeyPatch,
    *,
    step: int = 1,
) -> Iterator[tuple[Path, Fault, bool]]:
    """Run an operation on a fresh folder once for every fault at every call; yields (folder, fault, whether it failed).

    When the power goes, the folder loses what was not flushed; this happens after the last call, too.

    Args:
        operation: changes a folder.
        fresh: makes the folder as it is before.
        monkeypatch: of pytest.
        step: distance of the calls that each fault hits, for a slow operation; faults begin at different calls.
    """
    folder = fresh()
    with Disk(folder).mounted(monkeypatch) as counting:
        operation(folder)
    assert counting.calls, "the operation writes nothing"
    for first, fault in enumerate(Fault):
        after = [counting.calls] if fault is Fault.POWER else []  # right after the operation is done
        for number in [*range(first % step, counting.calls, step), *after]:
            folder, failed = fresh(), False
            disk = Disk(folder, fault, number)
            try:
                with disk.mounted(monkeypatch):
                    operation(folder)
            except (OSError, sqlite3.Error, SQLAlchemyError, SottovoceError, Stopped):
                failed = True
            if fault is Fault.POWER:
                disk.restore()
            yield folder, fault, failed
