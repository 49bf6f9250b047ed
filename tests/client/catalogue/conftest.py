"""Small real audio files, and a witness of every file that is opened."""

import ctypes
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE = 16_000
FORMATS = {  # extension: container and encoding for libsndfile
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}

Write = Callable[..., Path]


@pytest.fixture
def no_reader() -> None:
    """Here files are examined in processes, as they are for a label."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "catalogue"
    folder.mkdir()
    return folder


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "index.sqlite"


@pytest.fixture
def write(root: Path) -> Write:
    """Writes audio below the catalogue; every file has a content of its own unless a `tone` is repeated."""
    count = 0

    def write_audio(path: str, *, seconds: float = 4.5, tone: int | None = None, channels: int = 1) -> Path:
        nonlocal count
        count += 1
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        times = np.arange(round(seconds * RATE)) / RATE
        wave = 0.3 * np.sin(2 * np.pi * (200 + 10 * (count if tone is None else 1000 + tone)) * times)
        container, encoding = FORMATS[file.suffix[1:].lower()]
        samples = np.repeat(wave[:, None], channels, axis=1)
        soundfile.write(file, samples, RATE, format=container, subtype=encoding)
        return file

    return write_audio


@pytest.fixture
def opened() -> Callable[[Path], object]:
    """`with opened(folder) as names:` lists which files of a folder anything in this process or another opens.

    It asks the kernel (inotify), so that it sees what C libraries open as well.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "inotify_init1"):
        pytest.skip("only Linux tells who opens a file")
    in_open, in_isdir = 0x20, 0x40000000

    @contextmanager
    def watching(folder: Path) -> Iterator[list[str]]:
        names: list[str] = []
        handle = libc.inotify_init1(os.O_NONBLOCK)
        folders = [folder, *(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())]
        for below in folders:
            assert libc.inotify_add_watch(handle, os.fsencode(below), in_open) >= 0
        try:
            yield names
            while True:
                try:
                    events = os.read(handle, 1 << 16)
                except BlockingIOError:
                    break
                while events:
                    _, mask, _, length = struct.unpack_from("iIII", events)
                    name = events[16 : 16 + length].rstrip(b"\0").decode()
                    if not mask & in_isdir and name not in names:
                        names.append(name)
                    events = events[16 + length :]
        finally:
            os.close(handle)

    return watching
