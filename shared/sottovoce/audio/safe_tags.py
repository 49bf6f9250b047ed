"""Tags of untrusted files: reading them takes no more memory than the files' size."""

import io
import os
import zlib
from pathlib import Path
from typing import Any

LARGEST_READ = 1 << 24
"""Largest number of bytes read at once, such as an ID3 tag with pictures; the limit of a block in FLAC."""


def opened(path: Path) -> Any:
    """A file with its tags as mutagen reads them; None if its format is not supported.

    Compressed ID3 frames count as damaged: common programs do not write them, and a few kB could expand to gigabytes.

    Raises:
        ValueError: the tags are larger than `LARGEST_READ`.
        Exception: mutagen raises any exception on a damaged file: struct.error, IndexError, its own.
    """
    import mutagen
    from mutagen.aiff import AIFF
    from mutagen.flac import FLAC
    from mutagen.id3 import _frames
    from mutagen.mp3 import MP3
    from mutagen.oggflac import OggFLAC
    from mutagen.oggopus import OggOpus
    from mutagen.oggvorbis import OggVorbis
    from mutagen.wave import WAVE

    # mutagen has no option for this. Searching for such frames beforehand would mean finding them wherever it does: in
    # chunks, within other frames, with and without unsynchronisation.
    frames: Any = _frames
    if frames.zlib is not _Uncompressed:
        frames.zlib = _Uncompressed
    with _Bounded(io.FileIO(os.fspath(path))) as file:
        return mutagen.File(file, options=[AIFF, FLAC, MP3, OggFLAC, OggOpus, OggVorbis, WAVE])


class _Uncompressed:
    """Replacement for `zlib` that refuses to decompress."""

    error = zlib.error

    @staticmethod
    def decompress(data: bytes) -> bytes:  # noqa: ARG004
        raise zlib.error("Compressed frames are refused.")


class _Bounded(io.BufferedReader):
    """Limits the size of a single read, whatever a file claims."""

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(LARGEST_READ + 1 if size is None or size < 0 else min(size, LARGEST_READ + 1))
        if len(found) > LARGEST_READ:
            raise ValueError("The tags are too large.")
        return found
