"""Leaving a label out of a running run, by decision of the coordinator's people: checked, journalled and visible."""

from sottovoce.errors import ConfigurationError
from sottovoce.protocol.topology import threshold
from sottovoce_server.home.coordinator_home import ServerHome
from sottovoce_server.home.runs import SUBMITTED, RunFolder

BY_HAND = "the coordinator's people left it out"
UNDER_WAY = (SUBMITTED, "waiting", "training")


def leave_out(home: ServerHome, run: str, label: str, *, reason: str | None = None) -> RunFolder:
    """Exclude a label from a run, from its next round on.

    The exclusion is recorded in the journal, the run's history, and every later request to the other labels.

    Args:
        home: the coordinator's home.
        run: the run's id, or a prefix of it.
        label: the label to leave out.
        reason: reason for the journal and the history.

    Raises:
        ConfigurationError: the run has ended or is in its last round, the label is not part of it or already left out,
            or too few labels would be left for a sum.
    """
    folder = RunFolder.of(home, run)
    if folder.state not in UNDER_WAY:
        raise ConfigurationError(f"This run is not active: it is {folder.state}.")
    config = folder.order().announcement.config
    newest = folder.keeper.newest_round
    if newest >= config.rounds:
        raise ConfigurationError(
            f"The last of the run's {config.rounds} rounds has begun, and there is none after it.",
            hint=f"To end the run without a release: sottovoce server stop {folder.run[:8]}",
        )
    agreement = home.invitation().agreement
    history = folder.progress().get("history", {})
    joined = [promise["label"] for promise in history.get("promises", [])]
    members = joined or [member.name for member in agreement.members]
    if label not in members:
        raise ConfigurationError(f"'{label}' is not part of this run.", hint=f"Its labels are {', '.join(members)}.")
    gone = {*history.get("left_out", {}), *folder.left_out_by_hand()}
    if label in gone:
        raise ConfigurationError(f"'{label}' is already left out of this run.")
    left, needed = len(set(members) - gone - {label}), max(agreement.n_min, threshold(len(members)))
    if left < needed:
        raise ConfigurationError(
            f"Without '{label}', {left} labels are left, but a sum of this run needs {needed}.",
            hint=f"To end the run instead: sottovoce server stop {folder.run[:8]}",
        )
    why = f"{BY_HAND}: {reason}" if reason else BY_HAND
    home.journal().append("leave-out", {"run": folder.run, "label": label, "why": why, "after": newest})
    folder.leave_out(label, why)
    return folder
