"""Scans a catalogue: walks its folders, opens files that are not in the index on all cores, and sorts them."""

import os
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

from sottovoce.errors import CatalogueError
from sottovoce.features.spec import FeatureSpec
from sottovoce_client.catalogue.consent import DEFAULT_CONSENT, Consent, Purpose
from sottovoce_client.catalogue.file_facts import Facts, examine
from sottovoce_client.catalogue.folder_layout import Candidate, Withheld, candidates
from sottovoce_client.catalogue.index import Index, default_index
from sottovoce_client.catalogue.reader_pool import read_all
from sottovoce_client.catalogue.resolve import resolve
from sottovoce_client.catalogue.tracks import Catalogue, NothingUsable, Rejected

# `progress(done, total)`; the total is None while the folders are still being walked. Called from the scanning thread.
Progress = Callable[[int, int | None], None]


def scan(
    root: Path,
    *,
    index: Path | None = None,
    segment_seconds: float = FeatureSpec.segment_seconds,
    purposes: frozenset[Purpose] | None = None,
    default_consent: Consent = DEFAULT_CONSENT,
    workers: int | None = None,
    progress: Progress | None = None,
    today: date | None = None,
) -> Catalogue:
    """Scan a catalogue. Opens only files with consent to one of the purposes that changed since the last scan.

    An interrupted scan (Ctrl-C, or an error raised by `progress`) keeps its results; a killed one loses only the last
    few files.

    Args:
        root: the catalogue's folder; it may be read-only.
        index: the file that remembers earlier scans; by default one in the user's cache.
        segment_seconds: least length of a track.
        purposes: open files with consent to one of these; None: with consent to any purpose.
        default_consent: consent of tracks for which the sheet gives none.
        workers: number of processes that read files, by default one per core; 1 reads in this process.
        progress: called after every file.
        today: the day on which consent must hold; by default the local date.

    Raises:
        NothingUsable: no track can be used.
        CatalogueError: the folder does not exist, its sheet is not valid, or the index cannot be used.
    """
    if not root.is_dir():
        raise CatalogueError("There is no such folder." if not root.exists() else "This is a file, not a folder.")
    tell = progress or _silence
    files: list[Candidate] = []
    rejected: list[Rejected] = []
    withheld: list[str] = []
    ignored = 0
    day = today or datetime.now(tz=UTC).astimezone().date()
    wanted = frozenset(Purpose) if purposes is None else purposes
    for entry in candidates(root, purposes=wanted, today=day, default_consent=default_consent):
        match entry:
            case Candidate():
                files.append(entry)
                tell(len(files), None)
            case Rejected():
                rejected.append(entry)
            case Withheld():
                withheld.append(entry.path)
            case _:
                ignored += 1
    files.sort(key=lambda candidate: candidate.file.path)
    with Index(index or default_index(root)) as memory:
        facts, opened = _facts(root, files, memory, workers, tell)
        memory.forget_all_but([candidate.file.path for candidate in files] + withheld)
    tracks, refused, remarks = resolve(root, zip(files, facts, strict=True), segment_seconds)
    catalogue = Catalogue(
        root=root,
        tracks=tuple(tracks),
        unusable=tuple(sorted(rejected + refused, key=lambda file: file.path)),
        remarks=tuple(sorted(remarks, key=lambda remark: remark.path)),
        withheld=tuple(sorted(withheld)),
        ignored=ignored,
        opened=opened,
    )
    if not catalogue.tracks:
        raise NothingUsable(catalogue)
    return catalogue


def _silence(done: int, total: int | None) -> None:
    """Ignore the progress."""


def _cores() -> int:
    """Number of cores that this process may use; in a container, fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _facts(
    root: Path, files: list[Candidate], memory: Index, workers: int | None, tell: Progress
) -> tuple[list[Facts], int]:
    """The facts of each file, in order, and the number of files that had to be read."""
    facts = [memory.known(candidate.file) for candidate in files]
    unknown = [number for number, known in enumerate(facts) if known is None]
    done = len(files) - len(unknown)
    tell(done, len(files))
    paths = ((number, root / files[number].file.path) for number in unknown)
    with closing(_examined(paths, workers)) as examined:  # an interruption ends the readers at once
        for number, learnt in examined:
            facts[number] = learnt
            if learnt.lasting:
                memory.learn(files[number].file, learnt)
            done += 1
            tell(done, len(files))
    return [known for known in facts if known is not None], len(unknown)


def _examined(files: Iterable[tuple[int, Path]], workers: int | None) -> Generator[tuple[int, Facts], None, None]:
    if workers == 1:
        return ((number, examine(path)) for number, path in files)
    return read_all(files, workers or _cores())
