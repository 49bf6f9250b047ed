"""Whether a release is in its coordinator's log, and whether that log is the one that this user has seen before."""

import hashlib
from pathlib import Path

from platformdirs import user_state_path

from sottovoce.errors import ConfigurationError, ReleaseError
from sottovoce.federation.log import Evidence, LogMemory, release_entry
from sottovoce.release.manifest import LOG_FILE

MEMORY_FILE = "logs-seen.json"


def default_memory() -> LogMemory:
    """What this user has seen of coordinators' logs."""
    return LogMemory(user_state_path("sottovoce") / MEMORY_FILE)


def evidence_of(release: Path, file: Path | None = None) -> Evidence | None:
    """The evidence in a release's folder, or beside it, where earlier versions left it; None where there is none.

    Args:
        release: the folder.
        file: where the evidence is instead.

    Raises:
        ReleaseError: it cannot be read, or is none.
    """
    places = (release / LOG_FILE, release.absolute().parent / LOG_FILE)
    found = file or next((place for place in places if place.is_file()), None)
    if found is None:
        return None
    try:
        return Evidence.read(found)
    except ConfigurationError as error:
        raise ReleaseError(error.message, hint=error.hint) from None


def check_logged(manifest: bytes, key: bytes, evidence: Evidence | None, memory: LogMemory) -> str | None:
    """Check that a release is in its coordinator's log, and remember how long the log is.

    Args:
        manifest: the release's manifest, as bytes.
        key: the coordinator's, which is trusted (32 bytes).
        evidence: that it is; None where there is none.
        memory: what was seen of logs before.

    Returns:
        What was found, as a sentence; None where there is no evidence, and no log of this coordinator was ever seen.

    Raises:
        ReleaseError: the evidence does not show it, or there is none though the coordinator keeps a log.
        SplitView: the log is not the one that was seen before.
    """
    try:
        if evidence is None:
            if memory.newest(key) is None:
                return None
            raise ReleaseError(
                "Nothing shows that the release is in its coordinator's log, which you have seen before.",
                hint=f"Ask the coordinator for the release's {LOG_FILE}, and put it into the folder.",
            )
        evidence.expect(release_entry(hashlib.sha256(manifest).digest()), key)
        memory.remember(evidence)
    except ConfigurationError as error:
        raise ReleaseError(error.message, hint=error.hint) from None
    return f"It is in the coordinator's log (size {evidence.head.size}), which goes on from what you have seen of it."


def remember_agreement(evidence: Evidence | None, memory: LogMemory) -> None:
    """Take in the log that a signed agreement shows, so that releases are looked for in it, and in no other one.

    Raises:
        SplitView: it is not the one that was seen before.
        ReleaseError: the memory is damaged.
    """
    try:
        if evidence is not None:
            memory.remember(evidence)
    except ConfigurationError as error:
        raise ReleaseError(error.message, hint=error.hint) from None
