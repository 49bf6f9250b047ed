"""Masking partners, share holders and thresholds: public, and computed alike by everyone.

Fewer than a third of a run's members may collude with the coordinator (at most c = ⌈n/3⌉ − 1), and up to n − t of them
may be missing from a round, chosen by a malicious coordinator. `docs/protocol.md`, "Why it holds", and
`docs/decisions/` show why the numbers below keep an honest label's update hidden.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import count
from math import comb

ALL_PARTNERS = 64
"""Largest number of members for which everyone masks against everyone."""
COMMITTEE = 128
"""Number of share holders of a run; in a smaller run all members hold shares."""
MOST_DRAWS = 16
"""Largest number of set-ups of one run that a label takes part in; each draws a committee."""
FAILURE_BITS = 80
"""Probability of a bad committee in a run, over all its draws: 2 to the minus this."""
_DRAW_BITS = FAILURE_BITS + (MOST_DRAWS - 1).bit_length()


def threshold(members: int) -> int:
    """t = ⌊2n/3⌋ + 1: survivors and signatures that a round needs. Any two sets of t share an honest label."""
    return 2 * members // 3 + 1


def most_corrupt(members: int) -> int:
    """Largest number of members that is fewer than a third."""
    return -(-members // 3) - 1


def majority(labels: int) -> int:
    """More than half."""
    return labels // 2 + 1


def least_honest(labels: int, n_min: int) -> int:
    """Honest labels, besides one curious label, in every sum of any run that the coordinator may form.

    A run has n members, `n_min` to `labels` of them, and at least max(t, n_min) survivors. Of these up to c may
    collude, and a single curious label knows its own noise, so max(c, 1) are not counted.
    """
    return min(max(threshold(members), n_min) - max(most_corrupt(members), 1) for members in range(n_min, labels + 1))


def partner_count(members: int) -> int:
    """Number of partners that each label masks against: all others up to 64 members, k = 2⌈n/3⌉ above.

    The partner graph is a Harary graph, so cutting it takes k vertices, and only c + (n − t) < k collude or are
    missing: the honest survivors stay connected whatever the coordinator does. (The bound of Bell et al., CCS 2020, is
    smaller because it assumes that drop-outs are not chosen after the graph is known.)
    """
    complete = members - 1
    return complete if members <= ALL_PARTNERS else min(complete, 2 * -(-members // 3))


@lru_cache
def share_threshold(members: int) -> int:
    """Number of share holders needed to recover a secret.

    Up to 128 members all hold shares, and it is `threshold`. For a committee drawn from more, it is the smallest number
    that colluding labels reach with probability at most 2^-84 (the hypergeometric tail, exactly), hence at most 2^-80
    over all 16 draws of a run; the cross-check then ensures that two survivor sets are never both opened.
    """
    if members <= COMMITTEE:
        return threshold(members)
    corrupt = most_corrupt(members)
    draws = comb(members, COMMITTEE)
    tail = 0
    for holders in count(min(corrupt, COMMITTEE), -1):
        tail += comb(corrupt, holders) * comb(members - corrupt, COMMITTEE - holders)
        if tail << _DRAW_BITS > draws:
            break  # at the latest with all outcomes, whose probability is 1
    return holders + 1


def drawn(purpose: str, seed: bytes, labels: Iterable[str]) -> list[str]:
    """The labels in an order determined by the seed: sorted by SHA-256 of purpose, seed and name."""
    prefix = b"sottovoce/2/" + purpose.encode() + b"\x00" + seed
    return sorted(labels, key=lambda label: hashlib.sha256(prefix + label.encode()).digest())


@dataclass(frozen=True)
class Topology:
    """The graph of one run.

    Args:
        members: in ascending order.
        seed: 32 bytes, the source of all draws: the session's digest, which covers all nonces.
    """

    members: tuple[str, ...]
    seed: bytes

    @cached_property
    def threshold(self) -> int:
        """Survivors, and signatures on their set, that a round needs."""
        return threshold(len(self.members))

    @cached_property
    def share_threshold(self) -> int:
        """Number of share holders that must answer."""
        return share_threshold(len(self.members))

    @cached_property
    def holders(self) -> tuple[str, ...]:
        """Share holders, in ascending order; the position is the holder's index in `shamir`."""
        return tuple(sorted(drawn("committee", self.seed, self.members)[:COMMITTEE]))

    @cached_property
    def places(self) -> dict[str, int]:
        """Each member's position in ascending order."""
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
        """Labels that a member masks against, in ascending order: all others, or its k nearest on the drawn circle."""
        if label not in self._known:
            self._known[label] = self._nearest(label)
        return self._known[label]

    def peers(self, label: str) -> tuple[str, ...]:
        """Labels with which a member needs a key, in ascending order: partners, holders and labels it holds for."""
        if label in self.holders:
            return tuple(other for other in self.members if other != label)
        return tuple(sorted({*self.partners(label), *self.holders}))

    def encapsulates(self, label: str, other: str) -> bool:
        """Whether `label`, of these two, has to make the ciphertext; each member makes about half of its pairs'."""
        distance = self.places[other] - self.places[label]
        return (distance > 0) == (distance % 2 == 1)

    def _nearest(self, label: str) -> tuple[str, ...]:
        members, others = len(self.members), partner_count(len(self.members))
        if others == members - 1:
            return tuple(other for other in self.members if other != label)
        seat = self._seats[label]
        steps = [step for step in range(-(others // 2), others // 2 + 1) if step]
        return tuple(sorted(self._circle[(seat + step) % members] for step in steps))
