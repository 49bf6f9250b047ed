"""Reads the tags inside an audio file: title, artist, album, genre, ISRC."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sottovoce.audio.safe_tags import opened
from sottovoce_client.catalogue.safe_text import plain

# Vorbis comments (FLAC, OGG, Opus) and ID3v2 frames (MP3, WAV) of each field.
_ID3 = {"title": "TIT2", "artist": "TPE1", "album": "TALB", "genre": "TCON", "isrc": "TSRC"}


@dataclass(frozen=True)
class Tags:
    """The embedded tags; a missing one is empty."""

    title: str = ""
    artist: str = ""
    album: str = ""
    genre: str = ""
    isrc: str = ""


def read_tags(path: Path) -> Tags:
    """The tags of a valid audio file. Damaged tags read as missing, since only the audio is essential."""
    try:
        file = opened(path)
        found = _fields(file.tags) if file is not None and file.tags is not None else {}
    except Exception:  # mutagen raises many kinds of error on malformed files; each means: no tags
        found = {}
    if path.suffix.lower() in (".wav", ".wave"):
        found = {**_riff_info(path), **found}
    return Tags(**found)


def _fields(tags: Mapping[str, Any]) -> dict[str, str]:
    found = {name: _first(tags.get(frame) or tags.get(name)) for name, frame in _ID3.items()}
    return {name: text for name, text in found.items() if text}


def _first(value: Any) -> str:
    values: Iterable[Any] = getattr(value, "genres", None) or getattr(value, "text", value) or ()
    return next((text for text in (plain(str(item)) for item in values) if text), "")


def _riff_info(path: Path) -> dict[str, str]:
    """A WAV file's INFO chunk, which mutagen ignores."""
    import soundfile

    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:  # a name need not be text
            found = {name: plain(getattr(file, name, "")) for name in ("title", "artist", "album", "genre")}
    except (soundfile.LibsndfileError, UnicodeDecodeError):
        return {}
    return {name: text for name, text in found.items() if text}
