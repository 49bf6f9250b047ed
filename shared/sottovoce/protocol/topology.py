"""Who masks against whom, who holds shares, and how many it takes: all of it public and the same for everyone.

Fewer than a third of a round's participants may collude with the coordinator (c = ⌈n/3⌉ − 1 at most), and up to
n − t of them may drop out, whom a malicious coordinator picks as it likes. Why the numbers below keep an honest label's
update hidden: `docs/protocol.md`, "Why it holds", and `docs/decisions/`.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import comb

COMMITTEE = 64
FAILURE_BITS = 40


def threshold(participants: int) -> int:
    """t = ⌊2n/3⌋ + 1: survivors and signatures that a round needs. Two sets of t share an honest label."""
    return 2 * participants // 3 + 1


def most_corrupt(participants: int) -> int:
    """The most that "fewer than a third" can be."""
    return -(-participants // 3) - 1


def partner_count(participants: int) -> int:
    """How many partners each label masks against: all others up to 64 participants, k = 2⌈n/3⌉ above.

    The partner graph is a Harary graph, so it takes k vertices to cut it, and there are only c + (n − t) < k that
    collude or drop out: the honest survivors stay connected whatever the coordinator does. (The bound of Bell et al.,
    CCS 2020, is smaller, since it lets nobody choose the drop-outs after the graph is known.)
    """
    complete = participants - 1
    return complete if participants <= COMMITTEE else min(complete, 2 * -(-participants // 3))


@lru_cache
def share_threshold(participants: int) -> int:
    """How many share holders it takes to recover a secret.

    Up to 64 participants all hold shares, and it is `threshold`. Of a committee drawn from more it is the least number
    that colluding labels reach with a probability of at most 2^-40 (the hypergeometric tail, exactly); that two
    survivor sets can never both be opened is then the cross-check's work, which all participants sign.
    """
    if participants <= COMMITTEE:
        return threshold(participants)
    corrupt = most_corrupt(participants)
    draws = comb(participants, COMMITTEE)
    tail = 0
    for members in range(min(corrupt, COMMITTEE), -1, -1):
        tail += comb(corrupt, members) * comb(participants - corrupt, COMMITTEE - members)
        if tail << FAILURE_BITS > draws:
            return members + 1
    raise AssertionError("a tail over all outcomes is certain")


def drawn(purpose: str, seed: bytes, labels: Iterable[str]) -> list[str]:
    """The labels in an order that the seed draws: by SHA-256 of purpose, seed and name."""
    prefix = b"sottovoce/1/" + purpose.encode() + b"\x00" + seed
    return sorted(labels, key=lambda label: hashlib.sha256(prefix + label.encode()).digest())


@dataclass(frozen=True)
class Topology:
    """The graph of one round.

    Args:
        participants: in ascending order.
        seed: 32 bytes that the draws come from; only used above 64 participants.
    """

    participants: tuple[str, ...]
    seed: bytes

    @cached_property
    def threshold(self) -> int:
        """Survivors, and signatures on their set, that the round needs."""
        return threshold(len(self.participants))

    @cached_property
    def share_threshold(self) -> int:
        """Share holders that must answer."""
        return share_threshold(len(self.participants))

    @cached_property
    def holders(self) -> tuple[str, ...]:
        """Who holds shares, in ascending order; the place in it is the number of `shamir`."""
        if len(self.participants) <= COMMITTEE:
            return self.participants
        return tuple(sorted(drawn("committee", self.seed, self.participants)[:COMMITTEE]))

    @cached_property
    def _known(self) -> dict[str, tuple[str, ...]]:
        return {}

    @cached_property
    def _circle(self) -> list[str]:
        return drawn("partners", self.seed, self.participants)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {label: place for place, label in enumerate(self._circle)}

    def partners(self, label: str) -> tuple[str, ...]:
        """Whom a participant masks against, in ascending order: everyone, or its k nearest on the drawn circle."""
        if label not in self._known:
            self._known[label] = self._nearest(label)
        return self._known[label]

    def _nearest(self, label: str) -> tuple[str, ...]:
        count, others = len(self.participants), partner_count(len(self.participants))
        if others == count - 1:
            return tuple(other for other in self.participants if other != label)
        place = self._places[label]
        steps = [step for step in range(-(others // 2), others // 2 + 1) if step]
        return tuple(sorted(self._circle[(place + step) % count] for step in steps))
