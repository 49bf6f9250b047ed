"""Whether a release is in its coordinator's log, and whether that log is the one that this user has seen before."""

import hashlib
from pathlib import Path

from platformdirs import user_state_path

from sottovoce.errors import ConfigurationError, ReleaseError, SplitView
from sottovoce.federation.log import Evidence, LogMemory, release_entry

EVIDENCE_FILE = "log.json"
"""Name of the file beside a release's folder that shows that the release is in the log."""
MEMORY_FILE = "logs-seen.json"


def default_memory() -> LogMemory:
    """What this user has seen of coordinators' logs."""
    return LogMemory(user_state_path("sottovoce") / MEMORY_FILE)


def evidence_beside(release: Path) -> Path | None:
    """The file of evidence beside a release's folder, where a run leaves it; None where there is none."""
    beside = release.absolute().parent / EVIDENCE_FILE
    return beside if beside.is_file() else None


def check_logged(manifest: bytes, key: bytes, file: Path | None, memory: LogMemory) -> str | None:
    """Check that a release is in its coordinator's log, and remember how long the log is.

    Args:
        manifest: the release's manifest, as bytes.
        key: the coordinator's, which is trusted (32 bytes).
        file: the evidence; None where there is none.
        memory: what was seen of logs before.

    Returns:
        What was found, as a sentence; None where there is no evidence, and no log of this coordinator was ever seen.

    Raises:
        ReleaseError: the evidence does not show it, or there is none though the coordinator keeps a log.
        SplitView: the log is not the one that was seen before.
    """
    if file is None:
        if memory.newest(key) is not None:
            raise ReleaseError(
                "Nothing shows that the release is in its coordinator's log, which you have seen before.",
                hint=f"Ask the coordinator for the run's {EVIDENCE_FILE}, and give it with --log.",
            )
        return None
    try:
        evidence = Evidence.read(file)
        evidence.expect(release_entry(hashlib.sha256(manifest).digest()), key)
        memory.remember(evidence)
    except SplitView:
        raise
    except ConfigurationError as error:
        raise ReleaseError(error.message, hint=error.hint) from None
    return f"It is in the coordinator's log (size {evidence.head.size}), which goes on from what you have seen of it."
