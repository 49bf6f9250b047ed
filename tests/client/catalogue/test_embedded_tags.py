from pathlib import Path

import mutagen
import pytest
import soundfile
from mutagen.id3 import TALB, TCON, TIT2, TPE1, TSRC

from sottovoce_client.catalogue.embedded_tags import Tags, read_tags

ALL = Tags(title="So What", artist="Miles Davis", album="Kind of Blue", genre="Jazz", isrc="USSM15900113")


@pytest.mark.parametrize("extension", ["flac", "ogg", "opus"])
def test_vorbis_comments_are_read(write, extension: str) -> None:
    path = write(f"jazz/a.{extension}")
    file = mutagen.File(path)
    for name in ("title", "artist", "album", "genre", "isrc"):
        file[name] = getattr(ALL, name)
    file.save()
    assert read_tags(path) == ALL


@pytest.mark.parametrize("extension", ["mp3", "wav"])
def test_id3_is_read(write, extension: str) -> None:
    path = write(f"jazz/a.{extension}")
    file = mutagen.File(path)
    if file.tags is None:
        file.add_tags()
    for frame, text in ((TIT2, ALL.title), (TPE1, ALL.artist), (TALB, ALL.album), (TCON, "(8)"), (TSRC, ALL.isrc)):
        file.tags.add(frame(encoding=3, text=[text]))
    file.save()
    assert read_tags(path) == ALL


def test_the_info_chunk_of_a_wav_file_is_read(write) -> None:
    path = write("jazz/a.wav")
    with soundfile.SoundFile(path, "r+") as file:
        file.title, file.artist = "So What", "Miles Davis"
    assert read_tags(path) == Tags(title="So What", artist="Miles Davis")


def test_no_tags_are_empty_ones(write) -> None:
    assert read_tags(write("jazz/a.flac")) == Tags()


def test_damaged_tags_are_none(write) -> None:
    path: Path = write("jazz/a.mp3")
    path.write_bytes(b"ID3\x04\x00\xff\x7f\x7f\x7f\x7f" + path.read_bytes())
    assert read_tags(path) == Tags()


def test_tags_are_one_line_without_control_characters_and_of_bounded_length(write) -> None:
    path = write("jazz/a.flac")
    file = mutagen.File(path)
    file["title"] = "a\x1b[31m\n b" + "c" * 10_000
    file["artist"] = ["", "second"]
    file.save()
    tags = read_tags(path)
    assert tags.title.startswith("a[31m bc")
    assert len(tags.title) == 500
    assert tags.artist == "second"
