"""Folders that we create: atomic, recognised by a marker, and never replacing anybody else's files."""

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
from sottovoce.files import folder_aside, is_full

MARKER = ".sottovoce-made.json"
_FILES = "files"
_CHUNK = 8

Task = TypeVar("Task")
Progress = Callable[[int, int], None]


def already_made(out: Path, request: Any) -> bool:
    """Whether `out` contains the complete result of an equal request.

    Args:
        out: the folder.
        request: any value for `canonical_json`; equal requests make equal folders.

    Raises:
        ConfigurationError: `out` is a file or lies below one, or is a non-empty folder that we did not create.
    """
    if not out.exists() and not out.is_symlink():
        there = next(folder for folder in out.absolute().parents if folder.exists())
        if not there.is_dir():
            raise ConfigurationError(f"{out} cannot be created: {there} is a file.", hint="Choose another folder.")
        return False
    marker = _marker(out)
    if marker is None:
        if out.is_dir() and not any(out.iterdir()):
            return False
        raise ConfigurationError(
            f"{out} exists and was not created by this command, so it is not replaced.",
            hint="Choose another folder, or move this one away.",
        )
    if marker.get("request") != json.loads(canonical_json(request)):
        return False
    return all((out / name).is_file() for name in marker.get(_FILES, ()))


@contextmanager
def making(out: Path, request: Any) -> Iterator[Path]:
    """A folder beside `out` to fill; it replaces `out` if the block succeeds and is removed otherwise.

    Raises:
        UserError: the disk is full, or `out` cannot be written.
    """
    try:
        with folder_aside(out) as aside:
            yield aside
            files = sorted(path.relative_to(aside).as_posix() for path in aside.rglob("*") if path.is_file())
            (aside / MARKER).write_bytes(canonical_json({"request": request, _FILES: files}))
    except OSError as error:
        raise _explained(out, error) from error


def check_space(out: Path, needed: float) -> None:
    """Refuse a task for which the disk has too little space.

    Args:
        out: folder to be written; need not exist.
        needed: required space, bytes.

    Raises:
        UserError: less space is free.
    """
    there = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise UserError(
            f"{out} needs about {needed / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are free there.",
            hint="Ask for less, or choose a folder on another disk.",
        )


def in_parallel(
    job: Callable[[Task], object],
    tasks: Iterable[Task],
    *,
    workers: int | None,
    progress: Progress | None,
    chunk: int = _CHUNK,
) -> None:
    """Run independent jobs on all cores, in any order.

    Args:
        job: a module-level function, which other processes can import.
        tasks: arguments, one per job.
        workers: number of processes; None for one per available core.
        progress: called with the number of finished jobs, and their total.
        chunk: number of jobs that a process takes at a time.

    Raises:
        Exception: the first exception of a job; jobs not yet started are skipped.
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
    # Forks of a process with threads may hang (progress bars are threads), so processes are spawned.
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
    """Ignore Ctrl-C, which reaches every process of a terminal; the parent handles it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _marker(out: Path) -> dict[str, Any] | None:
    try:
        marker = json.loads((out / MARKER).read_bytes())
    except (OSError, ValueError):
        return None
    return marker if isinstance(marker, dict) else None


def _explained(out: Path, error: OSError) -> UserError:
    if is_full(error):
        return UserError(f"No space is left to write {out}.", hint="Ask for less, or choose a folder on another disk.")
    return UserError(f"{out} cannot be written: {error.strerror or error}.", hint="Choose a writable folder.")
