"""Extracting the features of many files, on all cores; a file that kills its decoder costs that file only."""

import os
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol, TypeVar

import torch

from sottovoce.audio import Unusable
from sottovoce.errors import AudioError
from sottovoce.features.extract import Features, extract_file
from sottovoce.features.spec import FeatureSpec
from sottovoce.files import sha256_file

WORTH_PROCESSES = 64
"""Fewer files than this are done before other processes have started."""

_AHEAD = 4  # files waiting for each worker: enough to keep it busy, few enough to stop at once


class Source(Protocol):
    """A file by its content, such as a track of a catalogue."""

    @property
    def path(self) -> Path:
        """Where it is."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of its content, 64 hexadecimal digits."""
        ...


AnySource = TypeVar("AnySource", bound=Source)


def extract_unchanged(path: Path, file_digest: str, spec: FeatureSpec) -> Features:
    """The features of a file that must still be the one with this digest, so that none are kept under a wrong name.

    Raises:
        AudioError: the file cannot be used, or it changed; `reason` says which.
    """
    features = extract_file(path, spec)
    if sha256_file(path) != file_digest:
        raise AudioError("The file changed since it was scanned.", reason=Unusable.CHANGED)
    return features


def extract_all(
    sources: Sequence[AnySource], spec: FeatureSpec, workers: int | None = None
) -> Iterator[tuple[AnySource, Features | Unusable]]:
    """Each file with its features, or why it has none, as they come.

    Args:
        sources: the files.
        spec: how.
        workers: processes at a time; by default one a core. With 1, or with few files, none is started.
    """
    count = min(workers or _cores(), len(sources) // (WORTH_PROCESSES // 2))
    if count <= 1:
        yield from ((source, _outcome(source.path, source.digest, spec)) for source in sources)
        return
    waiting = iter(sources)
    while True:
        suspects: list[AnySource] = []
        with closing(_pooled(waiting, spec, count, suspects)) as outcomes:
            yield from outcomes
        if not suspects:
            return
        for source in suspects:
            yield source, _alone(source, spec)


def _pooled(
    sources: Iterator[AnySource], spec: FeatureSpec, workers: int, suspects: list[AnySource]
) -> Generator[tuple[AnySource, Features | Unusable], None, None]:
    """Outcomes until there is no source left or a worker dies, which leaves those at hand as suspects."""
    running: dict[Future[Features | Unusable], AnySource] = {}
    pool = _pool(workers)
    try:
        while True:
            for source in islice(sources, _AHEAD * workers - len(running)):
                suspects.append(source)
                running[pool.submit(_outcome, source.path, source.digest, spec)] = source
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


def _alone(source: Source, spec: FeatureSpec) -> Features | Unusable:
    """The outcome in a process of its own, whose death is the file's fault."""
    with _pool(1) as pool:
        try:
            return pool.submit(_outcome, source.path, source.digest, spec).result()
        except BrokenProcessPool:
            return Unusable.CORRUPT


def _outcome(path: Path, file_digest: str, spec: FeatureSpec) -> Features | Unusable:
    try:
        return extract_unchanged(path, file_digest, spec)
    except AudioError as error:
        return error.reason


def _pool(workers: int) -> ProcessPoolExecutor:
    """Fresh processes with one thread each: torch cannot be forked safely once it has threads."""
    return ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    )


def _cores() -> int:
    """The cores this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
