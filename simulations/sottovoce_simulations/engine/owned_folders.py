"""Folders that we make: whole or absent, known again by a marker, and never in the place of somebody else's files."""

import errno
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sottovoce.canonical import canonical_json
from sottovoce.errors import ConfigurationError, UserError
from sottovoce.files import folder_aside

MARKER = ".sottovoce-made.json"
_FILES = "files"
_CHUNK = 8

Task = TypeVar("Task")
Progress = Callable[[int, int], None]


def already_made(out: Path, request: Any) -> bool:
    """Whether `out` holds, complete, what a request would make again.

    Args:
        out: the folder.
        request: anything that `canonical_json` takes; equal requests make equal folders.

    Raises:
        ConfigurationError: `out` is a file or lies below one, or is a folder with something in it that we did not make.
    """
    if not out.exists() and not out.is_symlink():
        there = next(folder for folder in out.absolute().parents if folder.exists())
        if not there.is_dir():
            raise ConfigurationError(f"{out} cannot be made: {there} is a file.", hint="Choose another folder.")
        return False
    marker = _marker(out)
    if marker is None:
        if out.is_dir() and not any(out.iterdir()):
            return False
        raise ConfigurationError(
            f"{out} exists and was not made by this command, so it is left alone.",
            hint="Choose another folder, or move this one away.",
        )
    if marker.get("request") != json.loads(canonical_json(request)):
        return False
    return all((out / name).is_file() for name in marker.get(_FILES, ()))


@contextmanager
def making(out: Path, request: Any) -> Iterator[Path]:
    """A folder beside `out` to fill; it takes the place of `out` when the block ends well and vanishes otherwise.

    Raises:
        UserError: there is no space, or `out` cannot be written.
    """
    try:
        with folder_aside(out) as aside:
            yield aside
            files = sorted(path.relative_to(aside).as_posix() for path in aside.rglob("*") if path.is_file())
            (aside / MARKER).write_bytes(canonical_json({"request": request, _FILES: files}))
    except OSError as error:
        raise _explained(out, error) from error


def check_space(out: Path, needed: float) -> None:
    """Refuse to begin what cannot end.

    Args:
        out: where files will be written; need not exist.
        needed: bytes.

    Raises:
        UserError: less space is free.
    """
    there = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise UserError(
            f"{out} needs about {needed / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are free there.",
            hint="Make less, or choose a folder on another disk.",
        )


def in_parallel(
    job: Callable[[Task], object],
    tasks: Iterable[Task],
    *,
    workers: int | None,
    progress: Progress | None,
    chunk: int = _CHUNK,
) -> None:
    """Do independent jobs on all cores; their order makes no difference to what they leave.

    Args:
        job: a module's function, which other processes can import.
        tasks: its arguments, one a job.
        workers: processes; None for one a core that we may use.
        progress: is told how many are done, of how many.
        chunk: jobs that a process takes at a time.

    Raises:
        Exception: whatever a job raises first; jobs not yet begun are not done.
    """
    todo = list(tasks)
    processes = min(workers or len(os.sched_getaffinity(0)), -(-len(todo) // chunk))
    done = 0
    if processes <= 1:
        for task in todo:
            job(task)
            done += 1
            if progress:
                progress(done, len(todo))
        return
    chunks = [todo[first : first + chunk] for first in range(0, len(todo), chunk)]
    # Forked copies of a process with threads may hang (progress bars are threads), so each starts afresh.
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_leave_interrupts)
    with pool:
        try:
            for future in as_completed([pool.submit(_each, job, chunk) for chunk in chunks]):
                done += future.result()
                if progress:
                    progress(done, len(todo))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _each(job: Callable[[Task], object], tasks: list[Task]) -> int:
    for task in tasks:
        job(task)
    return len(tasks)


def _leave_interrupts() -> None:
    """Ctrl-C reaches every process of a terminal; the parent alone decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _marker(out: Path) -> dict[str, Any] | None:
    try:
        marker = json.loads((out / MARKER).read_bytes())
    except (OSError, ValueError):
        return None
    return marker if isinstance(marker, dict) else None


def _explained(out: Path, error: OSError) -> UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"No space is left to write {out}.", hint="Make less, or choose a folder on another disk.")
    return UserError(
        f"{out} cannot be written: {error.strerror or error}.", hint="Choose a folder that you may write to."
    )
