"""Finish plain audio: add tags and signed content credentials; the file is written whole or not at all."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile

from sottovoce.files import write_bytes, written_aside
from sottovoce.studio.provenance import credentials, tags
from sottovoce.studio.provenance.containers import GENERIC, LARGEST_EMBEDDED, RF64, WRITTEN, Container, sidecar_of
from sottovoce.studio.provenance.origin import Origin
from sottovoce.studio.provenance.signing_key import SigningKey

_BLOCK = 1 << 16
_READ_AS = {"FLOAT": "float32", "DOUBLE": "float64"}
_MODE = 0o644


@dataclass
class Draft:
    """A file being finished.

    Args:
        audio: path for the plain audio.
        folder: folder for other temporary files; always removed.
        sidecar: after finishing, the file with the credentials, if they are not embedded.
    """

    audio: Path
    folder: Path
    sidecar: Path | None = None


@contextmanager
def finished(
    path: Path, origin: Origin, *, source: Path | None = None, title: str | None = None, key: SigningKey | None = None
) -> Iterator[Draft]:
    """A draft beside `path`, finished and renamed onto it if the block succeeds; otherwise everything is removed.

    Memory does not grow with the audio's length.

    Args:
        path: must end in one of `containers.WRITTEN`.
        origin: description of the audio's origin.
        source: the edited file, if any. Credentials identify it by digest, and its tags are kept.
        title: title for the tags.
        key: key that signs; None for the user's own.

    Raises:
        ConfigurationError: the key cannot be used.
    """
    key = key or SigningKey.own()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}.", dir=path.parent) as folder:
        draft = Draft(Path(folder) / f"audio{path.suffix.lower()}", Path(folder))
        yield draft
        container = _container(draft.audio)
        audio = digest(draft.audio) if container.lossless else None
        if container.tagged:
            tags.write(draft.audio, origin, title=title, source=source)
        with written_aside(path) as aside:
            manifest = credentials.sign(draft.audio, aside, container, origin, key, audio=audio, source=source)
            aside.chmod(_MODE)
            if manifest is not None:  # before the audio is renamed: if the disk is full, neither is written
                draft.sidecar = sidecar_of(path)
                write_bytes(draft.sidecar, manifest)


def _container(path: Path) -> Container:
    """The container of a file. Since the library loads files three times over to embed credentials, large files get a
    sidecar instead."""
    container = RF64 if soundfile.info(path).format == RF64.name else WRITTEN[path.suffix.lower()]
    if container.embeds and path.stat().st_size > LARGEST_EMBEDDED:
        return replace(container, mime=GENERIC, embeds=False)
    return container


def digest(path: Path) -> str:
    """SHA-256 of a file's decoded samples, rate and channels, which tags and credentials do not affect.

    Raises:
        soundfile.SoundFileError: it cannot be decoded.
    """
    with soundfile.SoundFile(path) as file:
        total = hashlib.sha256(f"{file.samplerate} {file.channels}\n".encode())
        for block in file.blocks(_BLOCK, dtype=_READ_AS.get(file.subtype, "int32"), always_2d=True):
            total.update(np.ascontiguousarray(block, dtype=block.dtype.newbyteorder("<")).data)
    return total.hexdigest()
