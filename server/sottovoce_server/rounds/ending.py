"""The end of a run, kept until each of its labels has been notified."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sottovoce.canonical import canonical_json
from sottovoce.errors import ConfigurationError, OtherVersion, ProtocolError
from sottovoce.files import write_bytes
from sottovoce.protocol.messages import RunOver, decode

VERSION = 1
"""Version of the file."""


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
        try:
            values = json.loads(self.path.read_bytes())
            if values["version"] != VERSION:
                raise OtherVersion(f"The run's {self.path.name} is of another version.")
            over = decode(bytes.fromhex(values["over"]))
            if not isinstance(over, RunOver):
                raise TypeError
            return Ending(over, _numbers(values["untold"]), _numbers(values["stands"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ProtocolError):
            raise ConfigurationError(f"The run's {self.path.name} is damaged.") from None


def _numbers(values: Mapping[str, object]) -> dict[str, int]:
    numbers = {}
    for label, number in values.items():
        if type(number) is not int:
            raise TypeError
        numbers[label] = number
    return numbers
