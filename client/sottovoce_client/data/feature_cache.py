"""Computed features on disk: one checksummed file per track and view. A damaged file counts as missing.

    ROOT/<digest of the spec>/<view>/<two digits>/<digest of the audio file>

An entry consists of a SHA-256 over its key (spec, view, audio file) and content, a small header, and the numbers. A
half-written, damaged or misplaced entry fails the checksum and is recomputed, so neither flushing nor locking is
needed: several processes may write the same entry, and partial files of killed processes are removed later.
"""

import hashlib
import os
import struct
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sottovoce.audio.reject_reason import RejectReason
from sottovoce.errors import AudioError
from sottovoce.features.extract import Features
from sottovoce.features.spec import FeatureSpec, View
from sottovoce_client.data.parallel_extraction import Source, extract_all, extract_unchanged

Progress = Callable[[int, int], None]

_PARTIAL = "partial"
_ABANDONED_SECONDS = 3600.0
_CHECKSUM = hashlib.sha256().digest_size
_HEADER = struct.Struct("<3I")  # a summary's shape is [segments, D], the others' [segments, bands, frames]
_TYPES: dict[View, np.dtype[np.floating]] = {
    View.SUMMARY: np.dtype("<f4"),
    View.LOG_MEL: np.dtype("<f2"),
    View.SPECTROGRAM: np.dtype("<f2"),
}


@dataclass(frozen=True)
class Filled:
    """Result of `FeatureCache.fill`.

    Args:
        known: number of tracks found in the cache.
        computed: number of tracks computed.
        unusable: reasons for the others, by the file's digest.
    """

    known: int
    computed: int
    unusable: dict[str, RejectReason] = field(default_factory=dict)


class FeatureCache:
    """A folder of features, readable by its owner only; may be deleted at any time.

    Args:
        root: the folder; created if missing.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._partial = root / _PARTIAL
        self._partial.mkdir(mode=0o700, parents=True, exist_ok=True)
        root.chmod(0o700)
        self._sweep()

    def get(self, file_digest: str, spec: FeatureSpec) -> Features | None:
        """A track's features in every view of the spec, or None if they are not complete."""
        views: dict[View, NDArray[np.floating]] = {}
        for view in spec.views:
            values = self._read(file_digest, spec, view)
            if values is None:
                return None
            views[view] = values
        return Features(views)

    def put(self, file_digest: str, spec: FeatureSpec, features: Features) -> None:
        """Store a track's features; every process can read them when this returns."""
        for view in spec.views:
            self._write(file_digest, spec, view, features.view(view))

    def features_of(self, track_path: Path, file_digest: str, spec: FeatureSpec) -> Features:
        """A track's features, computed and stored if missing.

        Raises:
            AudioError: the file cannot be used, or no longer has this digest; `reason` says which.
        """
        found = self.get(file_digest, spec)
        if found is None:
            found = extract_unchanged(track_path, file_digest, spec)
            self.put(file_digest, spec, found)
        return found

    def load_view(
        self, tracks: Iterable[Source], spec: FeatureSpec, view: View
    ) -> Iterator[NDArray[np.floating] | None]:
        """One view of many tracks, in order: `[segments, *shape]` each, or None for a track that cannot be used.

        Missing features are computed in this process; `fill` computes them in advance, on all cores.
        """
        for track in tracks:
            found = self._read(track.digest, spec, view)
            if found is None:
                try:
                    found = self.features_of(track.path, track.digest, spec).view(view)
                except AudioError:
                    found = None
            yield found

    def fill(
        self,
        tracks: Iterable[Source],
        spec: FeatureSpec,
        *,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> Filled:
        """Compute missing features. An interruption keeps those already done.

        Args:
            tracks: each with the `path` and `digest` of its file.
            spec: the feature spec.
            workers: number of processes; by default one per core, and 1 computes in this process.
            progress: called with the number of finished tracks, and their total.
        """
        everything = list(tracks)
        missing = [track for track in everything if not self._there(track.digest, spec)]
        known = len(everything) - len(missing)
        unusable: dict[str, RejectReason] = {}
        tell = progress or _silence
        tell(known, len(everything))
        extracted = extract_all(missing, spec, workers)
        for done, (track, outcome) in enumerate(extracted, start=known + 1):
            if isinstance(outcome, RejectReason):
                unusable[track.digest] = outcome
            else:
                self.put(track.digest, spec, outcome)
            tell(done, len(everything))
        return Filled(known, len(missing) - len(unusable), unusable)

    def _place(self, file_digest: str, spec: FeatureSpec, view: View) -> Path:
        return self._root / spec.digest / view / file_digest[:2] / file_digest

    def _there(self, file_digest: str, spec: FeatureSpec) -> bool:
        return all(self._place(file_digest, spec, view).exists() for view in spec.views)

    def _read(self, file_digest: str, spec: FeatureSpec, view: View) -> NDArray[np.floating] | None:
        try:
            data = np.fromfile(self._place(file_digest, spec, view), dtype=np.uint8)
        except OSError:
            return None
        head = _CHECKSUM + _HEADER.size
        if len(data) < head or data[:_CHECKSUM].tobytes() != _checksum(file_digest, spec, view, data[_CHECKSUM:].data):
            return None
        shape = [size for size in _HEADER.unpack_from(data.data, _CHECKSUM) if size]
        return data[head:].view(_TYPES[view]).reshape(shape)

    def _write(self, file_digest: str, spec: FeatureSpec, view: View, values: NDArray[np.floating]) -> None:
        shape = (*values.shape, 0)[:3]
        body = _HEADER.pack(*shape) + np.ascontiguousarray(values, dtype=_TYPES[view]).tobytes()
        place = self._place(file_digest, spec, view)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._partial)
        with os.fdopen(handle, "wb") as file:
            file.write(_checksum(file_digest, spec, view, body))
            file.write(body)
        Path(name).replace(place)

    def _sweep(self) -> None:
        """Remove partial files of killed processes, once they are too old to belong to a running one."""
        for left in self._partial.iterdir():
            with suppress(FileNotFoundError):
                if left.stat().st_mtime < time.time() - _ABANDONED_SECONDS:
                    left.unlink()


def _checksum(file_digest: str, spec: FeatureSpec, view: View, body: bytes | memoryview) -> bytes:
    hashed = hashlib.sha256(f"{spec.digest}/{view}/{file_digest}/".encode())
    hashed.update(body)
    return hashed.digest()


def _silence(done: int, total: int) -> None:
    """Ignore the progress."""
