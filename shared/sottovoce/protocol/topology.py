"""Who masks against whom, who holds shares, and how many it takes: all of it public and the same for everyone.

Fewer than a third of a run's members may collude with the coordinator (c = ⌈n/3⌉ − 1 at most), and up to n − t of them
may be missing from a round, whom a malicious coordinator picks as it likes. Why the numbers below keep an honest
label's update hidden: `docs/protocol.md`, "Why it holds", and `docs/decisions/`.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import comb

ALL_PARTNERS = 64
"""Most members of a run in which everyone masks against everyone, in labels."""
COMMITTEE = 128
"""Share holders of a run, in labels; in a smaller run all hold shares."""
MOST_DRAWS = 16
"""Set-ups of one run that a label takes part in, each of which draws a committee."""
FAILURE_BITS = 80
"""Chance of a bad committee in a run, all its draws together: 2 to the minus so many bits."""
_DRAW_BITS = FAILURE_BITS + (MOST_DRAWS - 1).bit_length()


def threshold(members: int) -> int:
    """t = ⌊2n/3⌋ + 1: survivors and signatures that a round needs. Two sets of t share an honest label."""
    return 2 * members // 3 + 1


def most_corrupt(members: int) -> int:
    """The most that "fewer than a third" can be."""
    return -(-members // 3) - 1


def majority(labels: int) -> int:
    """More than half."""
    return labels // 2 + 1


def least_honest(labels: int, n_min: int) -> int:
    """Honest labels that every sum holds beside a curious one, in whatever run the coordinator makes up.

    A run has n members, from `n_min` to `labels` of them, and max(t, n_min) survivors at least. Of these c may collude;
    and one that is merely curious knows its own noise, so that max(c, 1) are not counted.
    """
    return min(
        max(threshold(members), n_min) - max(most_corrupt(members), 1) for members in range(max(n_min, 1), labels + 1)
    )


def partner_count(members: int) -> int:
    """How many partners each label masks against: all others up to 64 members, k = 2⌈n/3⌉ above.

    The partner graph is a Harary graph, so it takes k vertices to cut it, and there are only c + (n − t) < k that
    collude or are missing: the honest survivors stay connected whatever the coordinator does. (The bound of Bell et
    al., CCS 2020, is smaller, since it lets nobody choose the drop-outs after the graph is known.)
    """
    complete = members - 1
    return complete if members <= ALL_PARTNERS else min(complete, 2 * -(-members // 3))


@lru_cache
def share_threshold(members: int) -> int:
    """How many share holders it takes to recover a secret.

    Up to 128 members all hold shares, and it is `threshold`. Of a committee drawn from more it is the least number that
    colluding labels reach with a probability of at most 2^-84 (the hypergeometric tail, exactly), and so of at most
    2^-80 in all of a run's 16 draws; that two survivor sets can never both be opened is then the cross-check's work.
    """
    if members <= COMMITTEE:
        return threshold(members)
    corrupt = most_corrupt(members)
    draws = comb(members, COMMITTEE)
    tail = 0
    for holders in range(min(corrupt, COMMITTEE), -1, -1):
        tail += comb(corrupt, holders) * comb(members - corrupt, COMMITTEE - holders)
        if tail << _DRAW_BITS > draws:
            return holders + 1
    raise AssertionError("a tail over all outcomes is certain")


def drawn(purpose: str, seed: bytes, labels: Iterable[str]) -> list[str]:
    """The labels in an order that the seed draws: by SHA-256 of purpose, seed and name."""
    prefix = b"sottovoce/2/" + purpose.encode() + b"\x00" + seed
    return sorted(labels, key=lambda label: hashlib.sha256(prefix + label.encode()).digest())


@dataclass(frozen=True)
class Topology:
    """The graph of one run.

    Args:
        members: in ascending order.
        seed: 32 bytes that the draws come from: the session's digest, which holds everybody's nonce.
    """

    members: tuple[str, ...]
    seed: bytes

    @cached_property
    def threshold(self) -> int:
        """Survivors, and signatures on their set, that a round needs."""
        return threshold(len(self.members))

    @cached_property
    def share_threshold(self) -> int:
        """Share holders that must answer."""
        return share_threshold(len(self.members))

    @cached_property
    def holders(self) -> tuple[str, ...]:
        """Who holds shares, in ascending order; the place in it is the number of `shamir`."""
        if len(self.members) <= COMMITTEE:
            return self.members
        return tuple(sorted(drawn("committee", self.seed, self.members)[:COMMITTEE]))

    @cached_property
    def places(self) -> dict[str, int]:
        """Each member's place in ascending order."""
        return {label: place for place, label in enumerate(self.members)}

    @cached_property
    def _known(self) -> dict[str, tuple[str, ...]]:
        return {}

    @cached_property
    def _circle(self) -> list[str]:
        return drawn("partners", self.seed, self.members)

    @cached_property
    def _seats(self) -> dict[str, int]:
        return {label: seat for seat, label in enumerate(self._circle)}

    def partners(self, label: str) -> tuple[str, ...]:
        """Whom a member masks against, in ascending order: everyone, or its k nearest on the drawn circle."""
        if label not in self._known:
            self._known[label] = self._nearest(label)
        return self._known[label]

    def peers(self, label: str) -> tuple[str, ...]:
        """With whom a member needs a key, in ascending order: partners, its holders, and those whose holder it is."""
        if label in self.holders:
            return tuple(other for other in self.members if other != label)
        return tuple(sorted({*self.partners(label), *self.holders}))

    def encapsulates(self, label: str, other: str) -> bool:
        """Whether it falls to `label`, of these two, to make the ciphertext: about half of the pairs to each member."""
        distance = self.places[other] - self.places[label]
        return (distance > 0) == (abs(distance) % 2 == 1)

    def _nearest(self, label: str) -> tuple[str, ...]:
        count, others = len(self.members), partner_count(len(self.members))
        if others == count - 1:
            return tuple(other for other in self.members if other != label)
        seat = self._seats[label]
        steps = [step for step in range(-(others // 2), others // 2 + 1) if step]
        return tuple(sorted(self._circle[(seat + step) % count] for step in steps))
