"""Tags of files that nobody vouches for: reading them takes no more memory than the files are large."""

import io
import os
import zlib
from pathlib import Path
from typing import Any

LARGEST_READ = 1 << 24
"""Bytes that are read at once, such as an ID3 tag with its pictures: as many as a block of FLAC holds."""


def opened(path: Path) -> Any:
    """A file with its tags as mutagen has them; None if it is of no kind that we read.

    Frames of ID3 that are compressed count as damaged. No usual program writes them, and a few kB of them may stand for
    gigabytes.

    Raises:
        ValueError: the tags are larger than `LARGEST_READ`.
        Exception: mutagen raises what it likes on a damaged file: struct.error, IndexError, its own.
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

    # It has no option for this. To look for such frames ahead would mean to find them in every place where it does:
    # in chunks, within other frames, with and without unsynchronisation.
    frames: Any = _frames
    if frames.zlib is not _Uncompressed:
        frames.zlib = _Uncompressed
    with _Bounded(io.FileIO(os.fspath(path))) as file:
        return mutagen.File(file, options=[AIFF, FLAC, MP3, OggFLAC, OggOpus, OggVorbis, WAVE])


class _Uncompressed:
    """In the place of `zlib`."""

    error = zlib.error

    @staticmethod
    def decompress(data: bytes) -> bytes:  # noqa: ARG004
        raise zlib.error("Not asked for.")


class _Bounded(io.BufferedReader):
    """Reads little at once, whatever a file says of itself."""

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(LARGEST_READ + 1 if size is None or size < 0 else min(size, LARGEST_READ + 1))
        if len(found) > LARGEST_READ:
            raise ValueError("The tags are too large.")
        return found
