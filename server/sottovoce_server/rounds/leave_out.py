"""Leaving a label out of a run under way, by the coordinator's people: checked, journalled, and visible to all."""

from sottovoce.errors import ConfigurationError
from sottovoce.protocol.topology import threshold
from sottovoce_server.home.coordinator_home import ServerHome
from sottovoce_server.home.runs import SUBMITTED, RunFolder

BY_HAND = "the coordinator's people left it out"
UNDER_WAY = (SUBMITTED, "waiting", "training")


def leave_out(home: ServerHome, run: str, label: str, *, reason: str | None = None) -> RunFolder:
    """Have a run ask a label no more, from its next round on.

    It is written into the journal, and stands in the run's history and in each later request to the other labels.

    Args:
        home: the coordinator's.
        run: the run's id, or the beginning of it.
        label: who is left out.
        reason: for the journal and the history.

    Raises:
        ConfigurationError: the run is over, or in its last round; the label takes no part in it, or is left out
            already; or too few labels would be left for a sum.
    """
    folder = RunFolder.of(home, run)
    if folder.state not in UNDER_WAY:
        raise ConfigurationError(f"This run is not under way: it is {folder.state}.")
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
        raise ConfigurationError(f"'{label}' takes no part in this run.", hint=f"{', '.join(members)} do.")
    gone = {*history.get("left_out", {}), *folder.left_out_by_hand()}
    if label in gone:
        raise ConfigurationError(f"'{label}' is left out of this run already.")
    left, needed = len(set(members) - gone - {label}), max(agreement.n_min, threshold(len(members)))
    if left < needed:
        raise ConfigurationError(
            f"Without '{label}' {left} labels are left, and a sum of this run needs {needed}.",
            hint=f"To end the run instead: sottovoce server stop {folder.run[:8]}",
        )
    why = f"{BY_HAND}: {reason}" if reason else BY_HAND
    home.journal().append("leave-out", {"run": folder.run, "label": label, "why": why, "after": newest})
    folder.leave_out(label, why)
    return folder
