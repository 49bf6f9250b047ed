"""Notifies labels that a run is over, with the sums that they lack, until each of them has confirmed it."""

from dataclasses import replace
from logging import getLogger

from flwr.app import Message
from flwr.serverapp import Grid

from sottovoce.protocol.violations import UnfollowedParameters
from sottovoce.run.records import FRAME, RECORD, Action
from sottovoce_server.flower.round_messages import Lacked, message_to
from sottovoce_server.rounds.ending import Ending
from sottovoce_server.rounds.sum_store import SumStore

LOG = getLogger(__name__)
PATIENCE = 60.0
"""Longest wait for answers, seconds: a label that does not answer is notified again later."""


def tell(grid: Grid, ending: Ending, sums: SumStore, *, timeout: float = PATIENCE) -> Ending:
    """Notify the connected labels that do not know yet; those that lack their model get everything at once.

    Args:
        grid: Flower's connection to the labels.
        ending: the run's end.
        sums: the run's sums.
        timeout: seconds to wait for answers, at most `PATIENCE`.

    Returns:
        The ending, without the labels that confirmed it.
    """
    left, lost = _told(grid, ending, sums, timeout)
    if lost:
        left, _ = _told(grid, left, sums, timeout)
    return left


def tell_others(grid: Grid, ending: Ending, *, timeout: float = PATIENCE) -> None:
    """Notify, once, the connected nodes from which no advert arrived, since one may have been lost.

    A label whose advert was lost holds a promise and keys of a run that does not count it. One that never joined
    refuses the message, and changes nothing.
    """
    others = sorted(set(grid.get_node_ids()) - set(ending.untold.values()))
    requests = [message_to(node, Action.OVER, ending.over.encode(), None) for node in others]
    for _ in grid.send_and_receive(requests, timeout=min(timeout, PATIENCE)) if requests else ():
        pass


def _told(grid: Grid, ending: Ending, sums: SumStore, timeout: float) -> tuple[Ending, bool]:
    """The ending after one exchange, and whether a label lacked more than expected."""
    over, untold, stands = ending.over, dict(ending.untold), dict(ending.stands)
    labels = {node: label for label, node in untold.items()}
    frame, lacked = over.encode(), Lacked(sums, over.round + 1)
    requests = [
        message_to(node, Action.OVER, frame, lacked.by(stands.get(labels[node])) if over.has_model else None)
        for node in sorted(labels.keys() & set(grid.get_node_ids()))
    ]
    if not requests:
        return ending, False
    lost = False
    for reply in grid.send_and_receive(requests, timeout=min(timeout, PATIENCE)):
        label = labels.get(reply.metadata.src_node_id)
        if label is None:
            continue
        if _confirms(reply, frame):
            untold.pop(label, None)
        elif reply.has_error() and reply.error.reason == UnfollowedParameters.__name__:
            LOG.warning("%s could not follow the run to its end.", label)
            # It may have lost its model: next time it gets everything.
            lost = stands.pop(label, None) is not None or lost
    return replace(ending, untold=untold, stands=stands), lost


def _confirms(reply: Message, frame: bytes) -> bool:
    if reply.has_error():
        return False
    try:
        return bool(reply.content.config_records[RECORD][FRAME] == frame)
    except KeyError:
        return False
