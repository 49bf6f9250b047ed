"""Containers in which finished audio is written, and those in which credentials are searched."""

from dataclasses import dataclass
from pathlib import Path

from sottovoce.errors import ConfigurationError

SIDECAR = ".c2pa"


@dataclass(frozen=True)
class Container:
    """An audio container.

    Args:
        name: name in libsndfile.
        mime: media type.
        subtypes: sample formats, the default first (libsndfile's names).
        embeds: whether credentials are embedded, rather than in a sidecar.
        tagged: whether it supports tags that players show.
    """

    name: str
    mime: str
    subtypes: tuple[str, ...]
    embeds: bool = True
    tagged: bool = True

    @property
    def lossless(self) -> bool:
        """Whether reading returns the samples that were written."""
        return self.name != "OGG"


_AIFF = Container("AIFF", "audio/aiff", ("PCM_24", "PCM_16", "PCM_32", "FLOAT", "DOUBLE"), embeds=False)

WRITTEN = {
    ".wav": Container("WAV", "audio/wav", ("PCM_24", "PCM_16", "PCM_32", "FLOAT", "DOUBLE")),
    ".flac": Container("FLAC", "audio/flac", ("PCM_24", "PCM_16")),
    ".ogg": Container("OGG", "audio/ogg", ("VORBIS",), embeds=False),
    ".aiff": _AIFF,
    ".aif": _AIFF,
}
RF64 = Container("RF64", "audio/x-rf64", (), embeds=False, tagged=False)
"""Container of a WAV file beyond 4 GiB."""
GENERIC = "application/octet-stream"
"""Media type of files whose bytes are signed as a whole."""
LARGEST_EMBEDDED = 128 << 20
"""Largest file with embedded credentials, bytes. The library needs three times as much memory."""

_MP3 = "audio/mpeg"
_M4A = "audio/mp4"


def container_of(path: Path, subtype: str | None = None) -> tuple[Container, str]:
    """The container and subtype for a path's extension.

    Raises:
        ConfigurationError: the extension is not supported, or the container does not support the subtype.
    """
    container = WRITTEN.get(path.suffix.lower())
    if container is None:
        raise ConfigurationError(
            f"Audio cannot be written as '{path.suffix}'." if path.suffix else "The output's name has no extension.",
            hint=f"Use a name that ends in {', '.join(WRITTEN)}.",
        )
    if subtype is not None and subtype not in container.subtypes:
        raise ConfigurationError(
            f"{container.name} files are not written with samples of type {subtype}.",
            hint=f"Choose from {', '.join(container.subtypes)}.",
        )
    return container, subtype or container.subtypes[0]


def mime_of(head: bytes) -> str | None:
    """The media type of a file with these first bytes (16 or more), if it is audio that can have credentials."""
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return WRITTEN[".wav"].mime
    if head[:4] == b"RF64" and head[8:12] == b"WAVE":
        return RF64.mime
    if head[:4] == b"FORM" and head[8:12] in {b"AIFF", b"AIFC"}:
        return _AIFF.mime
    if head[:4] == b"fLaC":
        return WRITTEN[".flac"].mime
    if head[:4] == b"OggS":
        return WRITTEN[".ogg"].mime
    if head[4:8] == b"ftyp":
        return _M4A
    if head[:3] == b"ID3" or (head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE0 == 0xE0):
        return _MP3
    return None


def embeds(mime: str) -> bool:
    """Whether a file of this media type can embed credentials."""
    return mime not in {RF64.mime, _AIFF.mime, WRITTEN[".ogg"].mime}


def expect_no_sidecar(path: Path) -> None:
    """Refuse a path for which a sidecar of another file exists.

    Raises:
        ConfigurationError: there is one.
    """
    if sidecar_of(path).exists():
        raise ConfigurationError(
            f"{sidecar_of(path).name} exists: the credentials of another file with this name.",
            hint="Choose another name, or add --force.",
        )


def sidecar_of(path: Path) -> Path:
    """Path of the sidecar, a file ending in .c2pa, with credentials that the file itself does not contain.

    The sidecar of song.ogg is song.c2pa, as C2PA's tools expect; that of song.wav, which usually embeds its own, is
    song.wav.c2pa, so that they are not confused.
    """
    return path.with_suffix(SIDECAR) if path.suffix.lower() == ".ogg" else path.with_name(path.name + SIDECAR)
