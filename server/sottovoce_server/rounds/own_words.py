"""What labels said in their latest earlier runs: a label whose home was put back does not know it any more."""

from collections.abc import Iterable

from sottovoce.errors import ConfigurationError, ProtocolError
from sottovoce.protocol.messages import Advert, decode
from sottovoce.run.records import OwnWords
from sottovoce_server.home.runs import RunFolder

MOST_RUNS = 5
"""Number of runs that are looked at, newest first."""


def remembered(folders: Iterable[RunFolder]) -> dict[int, OwnWords]:
    """Each label's latest advert, and the rounds with its reports, by Flower's node.

    Args:
        folders: runs, newest first; those without a readable checkpoint are skipped.
    """
    found: dict[int, OwnWords] = {}
    looked_at = 0
    for folder in folders:
        if looked_at == MOST_RUNS:
            break
        try:
            snapshot, _ = folder.keeper.load()
            adverts = [message for message in map(decode, snapshot.setup) if isinstance(message, Advert)]
        except (ConfigurationError, ProtocolError):
            continue
        looked_at += 1
        for advert in adverts:
            node = snapshot.nodes.get(advert.label)
            if node is not None and node not in found:
                rounds = (record.number for record in snapshot.history.rounds if advert.label in record.survivors)
                found[node] = OwnWords(advert.encode(), tuple(rounds))
    return found
