"""Join tags: how labels notice that another label's home was put back, although no coordinator says so.

A label's nonce in a set-up holds six bytes that follow from its identity key and from the run's place among all runs
that its ledger has opened. They are random to everybody else. A ledger that was put back counts some places twice, so
its label shows one tag in two runs, each time under its signature: members of both runs see it, and nobody can forge
it.
"""

import hashlib
from logging import getLogger

from sottovoce.federation.identity import Identity
from sottovoce.protocol.messages import Nonces
from sottovoce.protocol.versions import JOIN_TAG_BYTES, join_tag_of
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.rounds.opened_home import OpenedHome

LOG = getLogger(__name__)
PURPOSE = "join tag"


def join_tag(identity: Identity, ledger: Ledger, run: bytes) -> bytes:
    """This label's tag for a run that its ledger has opened (6 bytes).

    Ed25519 signatures are deterministic (RFC 8032), and unpredictable without the key.
    """
    place = ledger.place_of(run).to_bytes(8, "big")
    return hashlib.sha256(identity.sign(purpose=PURPOSE, message=place)).digest()[:JOIN_TAG_BYTES]


def notice(nonces: Nonces, opened: OpenedHome) -> None:
    """Record the other members' join tags; tell this label's people of those seen in another run before.

    Args:
        nonces: the members' nonces, verified.
        opened: this label's home.
    """
    shown = {reveal.label: join_tag_of(reveal.nonce) for reveal in nonces.reveals if reveal.label != opened.home.name}
    tags = {label: tag for label, tag in shown.items() if tag is not None}
    for label, run in opened.home.diary.join_tags(nonces.run, tags).items():
        LOG.warning(
            "The home of %s was put back: it joins this run in the place of run %s, which its ledger does not hold any "
            "more. Tell its people.",
            label,
            run[:8],
        )
