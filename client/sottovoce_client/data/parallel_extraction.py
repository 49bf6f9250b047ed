"""Parallel computations on many files; a file that crashes its decoder affects only itself."""

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol, TypeVar

import torch

from sottovoce.audio.reject_reason import RejectReason
from sottovoce.errors import AudioError
from sottovoce.features.extract import Features, extract_file
from sottovoce.features.spec import FeatureSpec
from sottovoce.files import sha256_file

WORTH_PROCESSES = 64
"""Number of files below which starting processes takes longer than the work."""

_AHEAD = 4  # queued files per worker: enough to keep it busy, few enough to stop quickly


class Source(Protocol):
    """A file identified by its content, such as a track of a catalogue."""

    @property
    def path(self) -> Path:
        """Path of the file."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of its content, 64 hexadecimal digits."""
        ...


AnySource = TypeVar("AnySource", bound=Source)
Found = TypeVar("Found")


def extract_unchanged(path: Path, file_digest: str, spec: FeatureSpec) -> Features:
    """Features of a file that must still have this digest, so that none are stored under a wrong name.

    Raises:
        AudioError: the file cannot be used, or has changed; `reason` says which.
    """
    return _unchanged(path, file_digest, partial(extract_file, spec=spec))


def extract_all(
    sources: Sequence[AnySource], spec: FeatureSpec, workers: int | None = None
) -> Iterator[tuple[AnySource, Features | RejectReason]]:
    """Each file with its features or the reason why it has none, as they become ready; see `compute_all`."""
    return compute_all(sources, partial(extract_file, spec=spec), workers)


def compute_all(
    sources: Sequence[AnySource], compute: Callable[[Path], Found], workers: int | None = None
) -> Iterator[tuple[AnySource, Found | RejectReason]]:
    """Each file with its result or the reason why it has none, as they become ready.

    Args:
        sources: the files.
        compute: computes the result of a file; must be picklable; may raise `AudioError`.
        workers: number of processes; by default one per core. With 1, or with few files, none is started.
    """
    count = min(workers or _cores(), len(sources) // (WORTH_PROCESSES // 2))
    if count <= 1:
        yield from ((source, _outcome(source.path, source.digest, compute)) for source in sources)
        return
    waiting = iter(sources)
    while True:
        suspects: list[AnySource] = []
        with closing(_pooled(waiting, compute, count, suspects)) as outcomes:
            yield from outcomes
        if not suspects:
            return
        for source in suspects:
            yield source, _alone(source, compute)


def _pooled(
    sources: Iterator[AnySource], compute: Callable[[Path], Found], workers: int, suspects: list[AnySource]
) -> Generator[tuple[AnySource, Found | RejectReason], None, None]:
    """Results until all files are done or a worker dies, which leaves the files in progress as suspects."""
    running: dict[Future[Found | RejectReason], AnySource] = {}
    pool = _pool(workers)
    try:
        while True:
            for source in islice(sources, _AHEAD * workers - len(running)):
                suspects.append(source)
                running[pool.submit(_outcome, source.path, source.digest, compute)] = source
                suspects.remove(source)
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running[future], future.result()
                del running[future]
    except BrokenProcessPool:
        suspects += running.values()
    finally:
        pool.shutdown(cancel_futures=True)


def _alone(source: Source, compute: Callable[[Path], Found]) -> Found | RejectReason:
    """The result from a separate process, whose crash is blamed on the file."""
    with _pool(1) as pool:
        try:
            return pool.submit(_outcome, source.path, source.digest, compute).result()
        except BrokenProcessPool:
            return RejectReason.CORRUPT


def _unchanged(path: Path, file_digest: str, compute: Callable[[Path], Found]) -> Found:
    found = compute(path)
    if sha256_file(path) != file_digest:
        raise AudioError("The file changed since it was scanned.", reason=RejectReason.CHANGED)
    return found


def _outcome(path: Path, file_digest: str, compute: Callable[[Path], Found]) -> Found | RejectReason:
    try:
        return _unchanged(path, file_digest, compute)
    except AudioError as error:
        return error.reason


def _pool(workers: int) -> ProcessPoolExecutor:
    """New processes with one thread each: torch cannot be forked safely once it has threads."""
    return ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    )


def _cores() -> int:
    """Number of cores that this process may use; in a container, fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
