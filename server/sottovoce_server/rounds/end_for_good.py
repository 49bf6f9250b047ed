"""Ending a run for good, by decision of the coordinator's people: without a release, and not to be resumed."""

from sottovoce.errors import ConfigurationError
from sottovoce.protocol.message import FORMER_VERSION
from sottovoce.protocol.messages import RunOver
from sottovoce.protocol.run_over import NO_MODEL
from sottovoce_server.home.coordinator_home import ServerHome
from sottovoce_server.home.runs import ENDED, RunFolder
from sottovoce_server.rounds.ending import Ending


def end_for_good(home: ServerHome, run: str) -> RunFolder:
    """End a run that is not running; its labels are notified as soon as they can be reached.

    Args:
        home: the coordinator's home.
        run: the run's id, or a prefix of it.

    Raises:
        ConfigurationError: there is no such run, it is running, or its release is published.
    """
    folder = RunFolder.of(home, run)
    if folder.state == "published":
        raise ConfigurationError("This run is finished: its release is published.")
    try:
        with folder.worked_on():
            if folder.keeper.ending.read() is None:
                _write_ending(home, folder)
            folder.report(ENDED)
    except ConfigurationError as error:
        raise ConfigurationError(
            error.message, hint=error.hint or f"If it is running, stop it first: sottovoce server stop {folder.run[:8]}"
        ) from None
    return folder


def _write_ending(home: ServerHome, folder: RunFolder) -> None:
    announcement = folder.order().announcement
    last = min(folder.keeper.newest_round, announcement.config.rounds)
    known = {"run": announcement.run, "agreement": announcement.agreement, "round": last}
    try:
        nodes = folder.keeper.load()[0].nodes
    except ConfigurationError:  # it broke off before its labels had joined
        nodes = {}
    over = RunOver.sign(home.identity(), **known, parameters_digest=NO_MODEL, version=FORMER_VERSION)
    home.journal().append("run-over", {"run": folder.run, "after": last, "model": False})
    folder.keeper.ending.write(Ending(over, nodes))
