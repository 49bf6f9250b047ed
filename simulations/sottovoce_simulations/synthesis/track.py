"""One track: composed, recorded, and written as a tagged audio file."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sottovoce_simulations.synthesis.arrange import arrange
from sottovoce_simulations.synthesis.artist import Artist
from sottovoce_simulations.synthesis.record import record
from sottovoce_simulations.synthesis.scene import Scene
from sottovoce_simulations.synthesis.styles import STYLES
from sottovoce_simulations.synthesis.voices import Samples

FORMATS = ("flac", "ogg", "wav")


@dataclass(frozen=True)
class Track:
    """A planned track.

    Args:
        path: relative to the label's folder, with `/`.
        style: one of `STYLES`.
        artist: the performer.
        title: for the sheet and the tags.
        album: for the sheet and the tags.
        isrc: for the sheet and the tags.
        consent: as in `catalogue.csv`; empty for the label's default.
        tagged: whether the file has tags.
        seconds: length.
        seed: determines every note, together with the artist's seed.
    """

    path: str
    style: str
    artist: Artist
    title: str
    album: str
    isrc: str
    consent: str
    tagged: bool
    seconds: float
    seed: int


def perform(track: Track) -> Samples:
    """The music, `[samples, channels]` at `track.artist.rate`, within ±1; equal tracks give equal samples."""
    style = STYLES[track.style]
    scene = Scene.open(style, track.artist, track.seconds, np.random.default_rng(track.seed))
    score = arrange(style.compose(scene), scene)
    return record(score, scene, seconds=track.seconds, reverb=style.reverb)


def write(track: Track, folder: Path) -> None:
    """Write a track's file below a label's folder.

    Raises:
        OSError: it cannot be written.
    """
    import soundfile

    path = folder / track.path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("wb") as file:
            soundfile.write(file, perform(track), track.artist.rate, format=path.suffix[1:].upper())
    except soundfile.LibsndfileError as error:
        raise OSError(str(error)) from None
    if track.tagged:
        _tag(path, track)


def _tag(path: Path, track: Track) -> None:
    import mutagen
    from mutagen.id3 import TALB, TCON, TIT2, TPE1, TSRC

    file = mutagen.File(path)
    texts = (track.title, track.artist.name, track.album, track.style, track.isrc)
    if path.suffix == ".wav":
        file.add_tags()
        for frame, text in zip((TIT2, TPE1, TALB, TCON, TSRC), texts, strict=True):
            file.tags.add(frame(encoding=3, text=text))  # type: ignore[no-untyped-call]
    else:
        file.update(dict(zip(("title", "artist", "album", "genre", "isrc"), ([text] for text in texts), strict=True)))
    file.save()


def seed_of(*path: int | str) -> int:
    """A seed derived from a path of names and numbers: equal for equal paths."""
    words = [zlib.crc32(item.encode()) if isinstance(item, str) else item for item in path]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])
