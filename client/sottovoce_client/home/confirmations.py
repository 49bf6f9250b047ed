"""Which other labels count as real: those whose fingerprints this label's people compared, and those that they confirm.

The label's home holds all counter-signatures that it received, and its own. Each is bound to a name and a key, so a
member with a new key must be confirmed again.
"""

from collections.abc import Iterable

from sottovoce.federation.agreement import Agreement, Member
from sottovoce.federation.confirmation import (
    Confirmation,
    Withdrawal,
    confirmed_members,
    merged,
    read_confirmations,
    write_confirmations,
)
from sottovoce.federation.identity import Identity
from sottovoce_client.home.label_home import LabelHome


def kept_confirmations(home: LabelHome) -> tuple[Confirmation, ...]:
    """Every counter-signature and withdrawal in the home.

    Raises:
        ConfigurationError: the file is damaged.
    """
    return read_confirmations(home.confirmations_file) if home.confirmations_file.exists() else ()


def keep_confirmations(home: LabelHome, more: Iterable[Confirmation], *, joined: Agreement | None = None) -> None:
    """Add counter-signatures to the home.

    Args:
        home: the label's.
        more: counter-signatures and withdrawals.
        joined: the agreement that the label joins now. Words of others that are not about its members are dropped, or
            agreements that follow one another would fill the file. Withdrawals stay: the coordinator hands none out.

    Raises:
        ConfigurationError: the file is damaged, or there are too many.
    """
    kept = merged(kept_confirmations(home), more)
    if joined is not None:
        kept = tuple(
            each for each in kept if each.by == home.name or isinstance(each, Withdrawal) or each.about(joined)
        )
    write_confirmations(home.confirmations_file, kept, mode=0o600)


def confirm(home: LabelHome, identity: Identity, federation: str, members: Iterable[Member]) -> None:
    """Counter-sign members whose fingerprints this label's people have compared."""
    keep_confirmations(
        home,
        [Confirmation.sign(identity, federation=federation, by=home.name, member=member) for member in members],
    )


def withdrawn(home: LabelHome, member: Member) -> bool:
    """Whether this label has taken back its word for a member's key."""
    return any(
        isinstance(each, Withdrawal) and each.by == home.name and Member(each.name, each.public_key) == member
        for each in kept_confirmations(home)
    )


def withdraw(home: LabelHome, identity: Identity, federation: str, members: Iterable[Member]) -> None:
    """Take this label's word for members back, for good."""
    keep_confirmations(
        home,
        [Withdrawal.sign(identity, federation=federation, by=home.name, member=member) for member in members],
    )


def confirmed_by(home: LabelHome, agreement: Agreement, more: Iterable[Confirmation] = ()) -> dict[str, frozenset[str]]:
    """The members of an agreement that this label accepts as real, each with the labels that confirmed it.

    Args:
        home: the label's home.
        agreement: the agreement whose members are considered.
        more: counter-signatures besides those in the home.
    """
    return confirmed_members(agreement, home.name, merged(kept_confirmations(home), more))
