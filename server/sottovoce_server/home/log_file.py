"""The coordinator's log of agreements and releases on disk: one entry per line, oldest first."""

from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from sottovoce.federation.identity import Identity
from sottovoce.federation.log import Evidence, Log
from sottovoce.files import write_bytes


@dataclass(frozen=True)
class LogFile:
    """The log, shared by all processes of the coordinator.

    Args:
        path: the file. If it is missing, the log starts again, which everybody who has seen the old one detects.
        coordinator: identity that signs its heads.
    """

    path: Path
    coordinator: Identity = field(repr=False)

    def append(self, entry: bytes) -> Evidence:
        """Append an entry unless it is present; it is on disk when this returns.

        Raises:
            ConfigurationError: the log is full.
        """
        with FileLock(self.path.with_suffix(".lock"), mode=0o600):
            log = Log(self.path.read_bytes().splitlines() if self.path.exists() else [])
            evidence = log.append(entry, self.coordinator)
            write_bytes(self.path, b"".join(each + b"\n" for each in log.entries), mode=0o600)
        return evidence
