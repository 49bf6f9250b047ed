"""A release: a published global model with its signed manifest, in a folder that is whole or absent.

- `write` makes one, `cosign` adds a label's signature;
- `check` opens one without building anything, and says what it checked;
- `load` checks one and builds the model.
"""

from sottovoce.release.check import Checked, check
from sottovoce.release.load import Release, load
from sottovoce.release.manifest import Manifest, Noise, Privacy, Promise
from sottovoce.release.write import Provenance, cosign, write

__all__ = [
    "Checked",
    "Manifest",
    "Noise",
    "Privacy",
    "Promise",
    "Provenance",
    "Release",
    "check",
    "cosign",
    "load",
    "write",
]
