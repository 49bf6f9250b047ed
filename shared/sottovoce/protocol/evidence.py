"""Who lied, as far as the coordinator can prove it from signed messages; and whom it can only suspect."""

from collections import Counter

from sottovoce.protocol.topology import most_corrupt


class Evidence:
    """What a coordinator has found out about the members of a run.

    Args:
        members: how many the run has.
    """

    def __init__(self, members: int) -> None:
        self._most = max(most_corrupt(members), 1)
        self._liars: dict[str, str] = {}
        self._disputes: set[tuple[str, str]] = set()

    def accuse(self, label: str, why: str) -> None:
        """A label's own signed words contradict each other; the first contradiction is kept."""
        self._liars.setdefault(label, why)

    def dispute(self, one: str, other: str) -> None:
        """Two labels contradict each other: one of them lies, and which one cannot be told.

        An honest label contradicts liars only, so that a label with more disputes than there can be liars is one.
        """
        first, second = sorted((one, other))
        self._disputes.add((first, second))
        counts = Counter(label for pair in self._disputes for label in pair)
        for label in (first, second):
            if counts[label] > self._most:
                self.accuse(label, f"contradicts {counts[label]} labels, more than can lie")

    @property
    def liars(self) -> dict[str, str]:
        """Each label that has lied, and what shows it."""
        return dict(sorted(self._liars.items()))

    @property
    def disputes(self) -> tuple[tuple[str, str], ...]:
        """Pairs of which one lies, without those that name a known liar."""
        return tuple(sorted(pair for pair in self._disputes if not self._liars.keys() & set(pair)))
