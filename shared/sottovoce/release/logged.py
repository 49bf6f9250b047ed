"""Check that a release is in its coordinator's log, and that the log is the one that this user saw before."""

import hashlib
from pathlib import Path

from platformdirs import user_state_path

from sottovoce.errors import ConfigurationError, ReleaseError
from sottovoce.federation.log import Evidence, LogMemory, release_entry
from sottovoce.release.manifest import LOG_FILE

MEMORY_FILE = "logs-seen.json"


def default_memory() -> LogMemory:
    """This user's record of coordinators' logs."""
    return LogMemory(user_state_path("sottovoce") / MEMORY_FILE)


def evidence_of(release: Path, file: Path | None = None) -> Evidence | None:
    """The evidence in a release's folder, or beside it, where earlier versions wrote it; None if there is none.

    Args:
        release: the release's folder.
        file: path of the evidence, if it is elsewhere.

    Raises:
        ReleaseError: it cannot be read, or is not evidence.
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
    """Check that a release is in its coordinator's log, and remember the log's state.

    Args:
        manifest: the release's manifest, as bytes.
        key: the coordinator's trusted key (32 bytes).
        evidence: the evidence; None if there is none.
        memory: record of logs seen before.

    Returns:
        The result as a sentence; None if there is no evidence and no log of this coordinator was ever seen.

    Raises:
        ReleaseError: the evidence proves nothing of the kind, or is missing although the coordinator keeps a log.
        SplitView: the log contradicts the one seen before.
    """
    try:
        if evidence is None:
            if memory.newest(key) is None:
                return None
            raise ReleaseError(
                "There is no proof that the release is in its coordinator's log, which you have seen before.",
                hint=f"Ask the coordinator for the release's {LOG_FILE}, and put it into the folder.",
            )
        evidence.expect(release_entry(hashlib.sha256(manifest).digest()), key)
        memory.remember(evidence)
    except ConfigurationError as error:
        raise ReleaseError(error.message, hint=error.hint) from None
    return f"It is in the coordinator's log (size {evidence.head.size}), which extends the log that you saw before."


def remember_agreement(evidence: Evidence | None, memory: LogMemory) -> None:
    """Remember the log that a signed agreement proves, so that releases must be in it.

    Raises:
        SplitView: it contradicts the log seen before.
        ReleaseError: the record is damaged.
    """
    try:
        if evidence is not None:
            memory.remember(evidence)
    except ConfigurationError as error:
        raise ReleaseError(error.message, hint=error.hint) from None
