"""Everything that a schedule decides, drawn from its seed: which fault strikes where.

A decision belongs to a *site*, a name such as "label-2 #14: fault", and depends on nothing but seed and site. So a
schedule replays from its seed, and one decision can be taken back without changing the others, which is what shrinking
needs. Decision 0 is always "nothing happens".
"""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from hashlib import blake2b


@dataclass
class Choices:
    """The decisions of one schedule.

    Args:
        seed: of the schedule.
        only: sites at which something may happen; None: all.
        quiet: nothing happens any more.
    """

    seed: int
    only: Collection[str] | None = None
    quiet: bool = False
    made: dict[str, int] = field(default_factory=dict)
    """Decisions other than 0, by site, in the order in which they were made."""
    _seen: Counter[str] = field(default_factory=Counter)

    def draw(self, site: str) -> int:
        """A number of 64 bits for a site, different at each visit."""
        self._seen[site] += 1
        named = f"{self.seed}/{site}/{self._seen[site]}".encode()
        return int.from_bytes(blake2b(named, digest_size=8).digest())

    def happens(self, site: str, options: int, rate: float = 1.0) -> int:
        """0, or with probability `rate` one of 1 to `options`."""
        drawn = self.draw(site)
        if self.quiet or (drawn & 0xFFFFFFFF) >= rate * 2**32:
            return 0
        return self._kept(f"{site} ({self._seen[site]})", 1 + (drawn >> 32) % options)

    def order(self, site: str, size: int) -> list[int]:
        """A permutation of a given number of items; most of the time the identity."""
        numbers = list(range(size))
        if size < 2 or not self.happens(f"order of {site}", 1, 0.3):
            return numbers
        for last in range(size - 1, 0, -1):
            other = self.draw(site) % (last + 1)
            numbers[last], numbers[other] = numbers[other], numbers[last]
        return numbers

    def _kept(self, site: str, value: int) -> int:
        if self.only is not None and site not in self.only:
            return 0
        self.made[site] = value
        return value


def shrunk(sites: Collection[str], fails: Callable[[Collection[str]], bool]) -> list[str]:
    """The fewest sites found that still fail, by delta debugging (Zeller & Hildebrandt, 2002).

    Args:
        sites: sites with a decision other than 0 in a failing schedule.
        fails: whether the schedule fails with decisions at these sites only.
    """
    left, parts = list(sites), 2
    while len(left) > 1:
        size = -(-len(left) // parts)
        pieces = [left[start : start + size] for start in range(0, len(left), size)]
        for piece in pieces:
            rest = [site for site in left if site not in piece]
            if fails(rest):
                left, parts = rest, max(2, parts - 1)
                break
        else:
            if parts >= len(left):
                break
            parts = min(len(left), 2 * parts)
    return [] if len(left) == 1 and fails([]) else left
