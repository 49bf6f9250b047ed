"""The containers that finished audio is written in, and those in which credentials are looked for."""

from dataclasses import dataclass
from pathlib import Path

from sottovoce.errors import ConfigurationError

SIDECAR = ".c2pa"


@dataclass(frozen=True)
class Container:
    """A kind of audio file.

    Args:
        name: libsndfile's name of it.
        mime: its media type.
        subtypes: how samples may be kept, the usual one first (libsndfile's names).
        embeds: whether credentials lie in the file, and not in one beside it.
        tagged: whether it can have tags that players show.
    """

    name: str
    mime: str
    subtypes: tuple[str, ...]
    embeds: bool = True
    tagged: bool = True

    @property
    def lossless(self) -> bool:
        """Whether what is read is what was written."""
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
"""What a WAV file beyond 4 GiB is."""
GENERIC = "application/octet-stream"
"""What the library takes a file for of which only the bytes as a whole are signed."""
LARGEST_EMBEDDED = 128 << 20
"""Bytes of a file that credentials are put into. The library needs three times as much memory."""

_MP3 = "audio/mpeg"
_M4A = "audio/mp4"


def container_of(path: Path, subtype: str | None = None) -> tuple[Container, str]:
    """The container and subtype that a path's extension asks for.

    Raises:
        ConfigurationError: none that is written, or a subtype that it does not have.
    """
    container = WRITTEN.get(path.suffix.lower())
    if container is None:
        raise ConfigurationError(
            f"Audio is not written as '{path.suffix}'." if path.suffix else "The output's name has no extension.",
            hint=f"Use a name that ends in {', '.join(WRITTEN)}.",
        )
    if subtype is not None and subtype not in container.subtypes:
        raise ConfigurationError(
            f"A {container.name} file of ours has no samples of the kind {subtype}.",
            hint=f"Choose from {', '.join(container.subtypes)}.",
        )
    return container, subtype or container.subtypes[0]


def mime_of(head: bytes) -> str | None:
    """The media type of a file that starts with these bytes (16 or more), if it is audio that can have credentials."""
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
    """Whether a file of this media type can hold its own credentials."""
    return mime not in {RF64.mime, _AIFF.mime, WRITTEN[".ogg"].mime}


def expect_no_sidecar(path: Path) -> None:
    """Refuse a place beside which another file's credentials lie.

    Raises:
        ConfigurationError: they do.
    """
    if sidecar_of(path).exists():
        raise ConfigurationError(
            f"There is a {sidecar_of(path).name}, the credentials of another file of this name.",
            hint="Give another name, or --force.",
        )


def sidecar_of(path: Path) -> Path:
    """Where credentials lie that the file itself does not hold: beside it, ending in .c2pa.

    Those of song.ogg are in song.c2pa, as C2PA's tools have it; those of song.wav, which mostly holds its own, in
    song.wav.c2pa, so that they are not taken for each other's.
    """
    return path.with_suffix(SIDECAR) if path.suffix.lower() == ".ogg" else path.with_name(path.name + SIDECAR)
