"""Sketches on disk, beside the features: one checksummed file per track. A damaged file counts as missing.

    CACHE/copying/<version>/<two digits>/<digest of the audio file>

A track of three minutes takes about 65 kB. Only one sketch is in memory at a time.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from sottovoce.audio.reject_reason import RejectReason
from sottovoce.files import write_bytes
from sottovoce_client.copy_audit.sketch import SEMITONES, VERSION, Sketch, sketch_file
from sottovoce_client.data.feature_cache import Progress
from sottovoce_client.data.parallel_extraction import AnySource, compute_all

FOLDER = "copying"
_CHECKSUM = hashlib.sha256().digest_size
_HEADER = struct.Struct("<2I")  # peaks, columns


class SketchStore:
    """A folder of sketches, readable by its owner only; it may be deleted at any time.

    Args:
        cache: the label's cache folder, which contains it.
    """

    def __init__(self, cache: Path) -> None:
        self._root = cache / FOLDER / str(VERSION)
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def get(self, file_digest: str) -> Sketch | None:
        """A track's sketch, or None if it is missing or damaged."""
        try:
            data = self._place(file_digest).read_bytes()
        except OSError:
            return None
        body = data[_CHECKSUM:]
        if len(body) < _HEADER.size or data[:_CHECKSUM] != _checksum(file_digest, body):
            return None
        peaks, columns = _HEADER.unpack_from(body)
        times = np.frombuffer(body, "<i4", peaks, _HEADER.size)
        bands = np.frombuffer(body, np.uint8, peaks, _HEADER.size + times.nbytes)
        chroma = np.frombuffer(body, np.uint8, columns * SEMITONES, _HEADER.size + times.nbytes + bands.nbytes)
        return Sketch(times, bands, chroma.reshape(columns, SEMITONES))

    def put(self, file_digest: str, sketch: Sketch) -> None:
        """Store a track's sketch; every process can read it when this returns."""
        body = _HEADER.pack(len(sketch.times), len(sketch.chroma))
        body += sketch.times.astype("<i4").tobytes() + sketch.bands.tobytes() + sketch.chroma.tobytes()
        place = self._place(file_digest)
        place.parent.mkdir(mode=0o700, exist_ok=True)
        write_bytes(place, _checksum(file_digest, body) + body, mode=0o600)

    def fill(
        self, tracks: Iterable[AnySource], *, workers: int | None = None, progress: Progress | None = None
    ) -> tuple[RejectReason, ...]:
        """Compute the missing sketches. An interruption keeps those already done.

        Args:
            tracks: the tracks, each with the `path` and `digest` of its file.
            workers: number of processes; by default one per core, and 1 computes in this process.
            progress: called with the number of tracks done and the total.

        Returns:
            The reasons why tracks have no sketch, one for each such track.
        """
        everything = list(tracks)
        missing = [track for track in everything if not self._place(track.digest).exists()]
        tell = progress or _silence
        known = len(everything) - len(missing)
        tell(known, len(everything))
        unusable = []
        for done, (track, outcome) in enumerate(compute_all(missing, sketch_file, workers), start=known + 1):
            if isinstance(outcome, RejectReason):
                unusable.append(outcome)
            else:
                self.put(track.digest, outcome)
            tell(done, len(everything))
        return tuple(unusable)

    def load(self, tracks: Iterable[AnySource]) -> Iterator[tuple[AnySource, Sketch]]:
        """Tracks with their sketches, one at a time. Damaged sketches are recomputed; unusable tracks are left out."""
        for track in tracks:
            found = self.get(track.digest)
            if found is None:
                for _, outcome in compute_all([track], sketch_file, 1):
                    found = None if isinstance(outcome, RejectReason) else outcome
                if found is None:
                    continue
                self.put(track.digest, found)
            yield track, found

    def _place(self, file_digest: str) -> Path:
        return self._root / file_digest[:2] / file_digest


def _checksum(file_digest: str, body: bytes) -> bytes:
    return hashlib.sha256(f"{FOLDER}/{VERSION}/{file_digest}/".encode() + body).digest()


def _silence(done: int, total: int) -> None:
    """Ignore the progress."""
