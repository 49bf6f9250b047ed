"""Keys of a label with each of its peers, round by round.

A hash chain starts from the secret that two labels agreed on (`keys.pair_secret`): each round's keys are derived from
its own link, and a label deletes the links of past rounds. A thief of its state learns no mask of the past.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from sottovoce.protocol.keys import PREFIX, derive, names
from sottovoce.protocol.session import Session


@dataclass(frozen=True)
class PairKeys:
    """One label's keys.

    Args:
        session: the set-up.
        label: the label that owns the keys.
        at: round of the links.
        links: the chain's link of that round with each peer; never printed.
    """

    session: Session
    label: str
    at: int
    links: Mapping[str, bytes] = field(repr=False)

    def advanced(self, number: int) -> "PairKeys":
        """The keys without links before a round."""
        return PairKeys(self.session, self.label, number, self._links(number))

    @cached_property
    def _ahead(self) -> dict[int, dict[str, bytes]]:
        return {}

    def _links(self, number: int) -> Mapping[str, bytes]:
        if number == self.at:
            return self.links
        if number not in self._ahead:
            links, prefix = dict(self.links), PREFIX + b"link\x00" + self.session.digest
            for _ in range(number - self.at):
                links = {label: hashlib.sha256(prefix + link).digest() for label, link in links.items()}
            self._ahead[number] = links
        return self._ahead[number]

    def round_key(self, other: str, number: int) -> bytes:
        """k: the round key from which two partners derive their masks. It is revealed if one of them drops out."""
        context = number.to_bytes(4) + names(*sorted((self.label, other)))
        return derive(self._links(number)[other], purpose="round", session=self.session.digest, context=context)

    def seal_key(self, sender: str, recipient: str, number: int, purpose: str, request: bytes = b"") -> bytes:
        """The key that seals one share; this label is the sender or the recipient.

        Args:
            sender: the label that seals.
            recipient: the label that opens.
            number: the round.
            purpose: `seal-preparation` or `seal-report`.
            request: digest of the round's request, if it is known when sealing.
        """
        link = self._links(number)[recipient if sender == self.label else sender]
        context = number.to_bytes(4) + names(sender, recipient) + request
        return derive(link, purpose=purpose, session=self.session.digest, context=context)


def mask_seed(secret: bytes, purpose: str, session: Session, request: bytes) -> bytes:
    """Seed of a mask in one round: of a pair (`mask`, from its round key) or of one label (`self-mask`, from s)."""
    return derive(secret, purpose=purpose, session=session.digest, context=request)
