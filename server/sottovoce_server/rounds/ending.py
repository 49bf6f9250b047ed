"""The end of a run, kept until each of its labels has been notified."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sottovoce.canonical import canonical_json
from sottovoce.files import write_bytes
from sottovoce.protocol.messages import RunOver, decode
from sottovoce.versioned import Format, Versioned

VERSION = 1
"""Version of the file."""
HINT = "Restore it from a backup, or use the release that wrote it. Unnotified labels leave after 30 days."


@dataclass(frozen=True)
class Ending:
    """A run that is over.

    Args:
        over: the message to its labels, signed.
        untold: Flower's node of each label that has not been notified yet.
        stands: number of rounds that each of them has applied; a label without parameters is absent.
    """

    over: RunOver
    untold: Mapping[str, int] = field(default_factory=dict)
    stands: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class EndingFile:
    """Storage of a run's end.

    Args:
        path: the file; missing while the run is not over.
    """

    path: Path

    def write(self, ending: Ending) -> None:
        """Replace the file; it is on disk when this returns."""
        values = {
            "version": VERSION,
            "over": ending.over.encode(),
            "untold": ending.untold,
            "stands": {label: number for label, number in ending.stands.items() if label in ending.untold},
        }
        write_bytes(self.path, canonical_json(values), mode=0o600)

    def read(self) -> Ending | None:
        """The run's end; None while the run is not over.

        Raises:
            OtherVersion: another version of Sottovoce wrote the file.
            ConfigurationError: it is damaged.
        """
        return _FORMAT.find(self.path)


class _Kept(Versioned):
    over: str
    untold: dict[str, int]
    stands: dict[str, int]


def _ending(kept: _Kept) -> Ending:
    over = decode(bytes.fromhex(kept.over))
    if not isinstance(over, RunOver):
        raise TypeError("it holds another message than a run's end")
    return Ending(over, kept.untold, kept.stands)


_FORMAT = Format(_Kept, _ending, VERSION, "The run's end", hint=HINT)
