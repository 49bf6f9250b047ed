"""Which labels lied, as signed messages prove it, and which are only suspected."""

from collections import Counter

from sottovoce.protocol.topology import most_corrupt


class Evidence:
    """A coordinator's evidence about the members of a run.

    Args:
        members: number of the run's members.
    """

    def __init__(self, members: int) -> None:
        self._most = max(most_corrupt(members), 1)
        self._liars: dict[str, str] = {}
        self._disputes: set[tuple[str, str]] = set()

    def accuse(self, label: str, why: str) -> None:
        """Record that a label's own signed messages contradict each other; the first contradiction is kept."""
        self._liars.setdefault(label, why)

    def dispute(self, one: str, other: str) -> None:
        """Record that two labels contradict each other: one of them lies, and it is unknown which.

        An honest label contradicts only liars, so a label with more disputes than there can be liars is a liar.
        """
        first, second = sorted((one, other))
        self._disputes.add((first, second))
        counts = Counter(label for pair in self._disputes for label in pair)
        for label in (first, second):
            if counts[label] > self._most:
                self.accuse(label, f"contradicts {counts[label]} labels, more than can lie")

    @property
    def liars(self) -> dict[str, str]:
        """Each label that lied, with the proof in words."""
        return dict(sorted(self._liars.items()))

    @property
    def disputes(self) -> tuple[tuple[str, str], ...]:
        """Pairs of which one lies, without pairs that include a known liar."""
        return tuple(sorted(pair for pair in self._disputes if not self._liars.keys() & set(pair)))
