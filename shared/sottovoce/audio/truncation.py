"""Detection of truncated audio files, which libsndfile does not report for every container."""

import struct
from pathlib import Path

# The length of an MP3 without a table of contents is estimated; with one, a decoder may still drop its padding.
_MP3_TOLERANCE = 1152
_OGG_LARGEST_PAGE = 65_307
_OGG_HEADER = 27
_OGG_LAST_PAGE = 0x04
_RIFF_UNKNOWN = (0, 0xFFFF_FFFF)


def ends_early(path: Path, container: str, promised: int, decoded: int) -> bool:
    """Whether a file is truncated.

    Args:
        path: the file.
        container: libsndfile's name of its format.
        promised: number of frames in the header.
        decoded: number of decoded frames.
    """
    if container == "OGG":
        return not _ends_with_last_page(path)
    if container in ("WAV", "WAVEX"):
        return decoded < promised or _shorter_than_riff(path)
    if container == "MP3":
        return decoded < promised - _MP3_TOLERANCE
    return decoded < promised


def _shorter_than_riff(path: Path) -> bool:
    """Whether the file is shorter than its outermost RIFF chunk states; an unknown (streaming) size proves nothing."""
    with path.open("rb") as file:
        name, size = struct.unpack("<4sI", file.read(8))
    return bool(name == b"RIFF" and size not in _RIFF_UNKNOWN and size + 8 > path.stat().st_size)


def _ends_with_last_page(path: Path) -> bool:
    """Whether the last Ogg page (RFC 3533, section 6) is complete and marked as the last of its stream."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _OGG_LARGEST_PAGE))
        tail = file.read()
    start = tail.rfind(b"OggS")
    page = tail[start:] if start >= 0 else b""
    if len(page) < _OGG_HEADER:
        return False
    segments = page[_OGG_HEADER - 1]
    table = page[_OGG_HEADER : _OGG_HEADER + segments]
    whole = len(page) >= _OGG_HEADER + segments + sum(table)
    return whole and bool(page[5] & _OGG_LAST_PAGE)
