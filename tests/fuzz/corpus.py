"""Corpora: for each target, one zip with inputs that each reach code which the others do not, and former faults."""

import hashlib
import zipfile
from collections.abc import Iterable
from pathlib import Path

CORPORA = Path(__file__).parent / "corpora"
_TIME = (1980, 1, 1, 0, 0, 0)
"""Time of every entry, so that equal inputs give an equal file."""


def read(name: str) -> list[bytes]:
    """A target's inputs; empty if it has none."""
    path = CORPORA / f"{name}.zip"
    if not path.exists():
        return []
    with zipfile.ZipFile(path) as archive:
        return [archive.read(entry) for entry in archive.infolist()]


def write(name: str, inputs: Iterable[bytes]) -> None:
    """Replace a target's inputs."""
    CORPORA.mkdir(exist_ok=True)
    with zipfile.ZipFile(CORPORA / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for data in sorted(set(inputs), key=lambda data: (len(data), data)):
            archive.writestr(zipfile.ZipInfo(hashlib.sha256(data).hexdigest()[:16], _TIME), data, zipfile.ZIP_DEFLATED)


def unpack(inputs: Iterable[bytes], folder: Path) -> None:
    """Write each input to a file of its own, named after its digest, as libFuzzer wants them."""
    folder.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
