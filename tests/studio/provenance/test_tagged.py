"""Tags designed to exhaust the reader's memory."""

import tracemalloc
import zlib
from functools import cache

import numpy as np
import pytest
import soundfile
from mutagen.id3 import APIC, TIT2
from mutagen.wave import WAVE

from sottovoce.audio.safe_tags import LARGEST_READ, opened
from sottovoce.studio.provenance import tags
from sottovoce_client.catalogue.embedded_tags import read_tags

SIZE = 64_000_000


def synchsafe(number):
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def frame(name, content, version, *, compressed=False):
    size = synchsafe(len(content)) if version == 4 else len(content).to_bytes(4, "big")
    flags = {3: b"\x00\x80", 4: b"\x00\x09"}[version] if compressed else b"\x00\x00"
    return name + size + flags + content


@cache
def packed():
    return zlib.compress(b"\x00" + b"a" * SIZE, 9)


def bomb(version, name=b"TIT2"):
    return frame(name, SIZE.to_bytes(4, "big") + packed(), version, compressed=True)


def id3(frames, version, flags=0):
    return b"ID3" + bytes([version, 0, flags]) + synchsafe(len(frames)) + frames


def unsynchronised(content):
    return content.replace(b"\xff", b"\xff\x00")


TAGS = {
    "2.3": lambda: id3(bomb(3), 3),
    "2.4": lambda: id3(bomb(4), 4),
    "2.3, unsynchronised": lambda: id3(unsynchronised(bomb(3)), 3, 0x80),
    "2.3, of a name of 2.2": lambda: id3(bomb(3, b"TT2\x00"), 3),
    "2.4, within a chapter": lambda: id3(frame(b"CHAP", b"one\x00" + bytes(16) + bomb(4), 4), 4),
}


def tagged(path, tag):
    """A file of noise with an ID3 tag: before an MP3's audio, in a chunk of a WAV or AIFF file."""
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(22_050), 22_050)
    content = path.read_bytes()
    if path.suffix == ".mp3":
        content = tag + content
    else:
        order = "little" if path.suffix == ".wav" else "big"
        chunk = b"ID3 " + len(tag).to_bytes(4, order) + tag + bytes(len(tag) % 2)
        content = content[:4] + (len(content) + len(chunk) - 8).to_bytes(4, order) + content[8:] + chunk
    path.write_bytes(content)
    return path


def copied(path):
    new = WAVE()
    new.add_tags()
    return tags._copied(path, new.tags)


@pytest.mark.parametrize("read", [tags.read, read_tags, copied])
@pytest.mark.parametrize("tag", TAGS.values(), ids=TAGS)
@pytest.mark.parametrize("ending", ["mp3", "wav", "aiff"])
def test_a_few_kilobytes_never_become_megabytes(tmp_path, ending, tag, read):
    path = tagged(tmp_path / f"a.{ending}", tag())
    assert path.stat().st_size < SIZE // 100
    read(path)  # what is imported for it counts for nothing
    tracemalloc.start()
    try:
        found = read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < SIZE // 10
    assert not (found["title"] if isinstance(found, dict) and "title" in found else getattr(found, "title", ""))


def test_what_else_the_tag_says_is_read(tmp_path):
    title = frame(b"TPE1", b"\x00Somebody", 3)
    assert read_tags(tagged(tmp_path / "a.mp3", id3(title + bomb(3), 3))).artist == "Somebody"


def test_pictures_are_no_reason_to_read_nothing(tmp_path):
    path = tagged(tmp_path / "a.mp3", b"")
    for size, title in ((3_000_000, "Air"), (LARGEST_READ, "")):
        file = opened(path)
        if file.tags is None:
            file.add_tags()
        file.tags.setall("TIT2", [TIT2(encoding=3, text=["Air"])])
        file.tags.setall("APIC", [APIC(encoding=0, mime="image/png", type=3, desc="", data=bytes(size))])
        file.save(path)
        assert read_tags(path).title == title
