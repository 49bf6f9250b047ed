"""What a label said in earlier runs, sent back to it: its own signature shows that its home was put back.

An older copy of a whole home, with ledger, run states and diary, contradicts nothing in it. But the coordinator keeps
the label's signed adverts, and a ledger without the run of such an advert lacks what was spent since.
"""

from sottovoce.errors import LedgerError
from sottovoce.protocol.messages import Advert, decode
from sottovoce.protocol.violations import Malformed
from sottovoce.run.records import OwnWords
from sottovoce_client.budget.known_heads import open_ledger
from sottovoce_client.budget.rows import THE_REST
from sottovoce_client.home.label_home import LabelHome

HINT = (
    "Restore the newest backup: sottovoce label restore. If there is none, what these tracks have spent is unknown: "
    "train with other tracks, in a new home with new keys."
)


def expect_remembered(own: OwnWords | None, home: LabelHome, identity_key: bytes) -> None:
    """Check that the ledger holds what this label has signed before.

    Args:
        own: the label's words, according to the coordinator; words that are not its own are ignored.
        home: the label's home.
        identity_key: the label's public key.

    Raises:
        LedgerError: the ledger lacks a run that the label has joined, or a round that is said to include its report.
    """
    if own is None:
        return
    try:
        advert = decode(own.advert)
    except Malformed:
        return
    if not isinstance(advert, Advert) or not advert.is_signed_by(identity_key):
        return
    with open_ledger(home) as ledger:
        if advert.run not in ledger:
            raise LedgerError(
                f"This label has signed that it joins run {advert.run.hex()[:8]}, but its ledger does not hold that "
                "run: the home is an older copy.",
                hint=HINT,
            )
        charged = ledger.charged_rounds(advert.run)
    missing = sorted(set(own.rounds) - charged)
    if missing and THE_REST not in charged:
        raise LedgerError(
            f"The coordinator has this label's report of round {missing[0]} of run {advert.run.hex()[:8]}, but the "
            "ledger holds no charge for it: the home is an older copy.",
            hint=HINT,
        )
