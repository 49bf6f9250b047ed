"""What everyone in a round derives from its request alone: contexts of keys, order of shares, checks of sets."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from sottovoce.protocol.encoding import Bytes, Many, Name
from sottovoce.protocol.messages import MAGIC, VERSION, ReportRequest
from sottovoce.protocol.prg import SEED_BYTES
from sottovoce.protocol.topology import Topology
from sottovoce.protocol.violations import TooFewSurvivors, WrongRound, WrongRun, WrongSurvivors


@dataclass(frozen=True)
class Round:
    """One round, as its request names it.

    Args:
        request: what every participant was sent; its adverts are in ascending order of their labels.
    """

    request: ReportRequest

    @property
    def participants(self) -> tuple[str, ...]:
        """Labels, in ascending order."""
        return self.topology.participants

    @cached_property
    def topology(self) -> Topology:
        """Partners, share holders and thresholds.

        The draws bind the agreement, the run, the round and every participant's fresh key, but not the parameters,
        which the coordinator may choose at will.
        """
        request = self.request
        hasher = hashlib.sha256(b"sottovoce/1/topology\x00" + request.run + request.round.to_bytes(4))
        for advert in request.adverts:
            hasher.update(hashlib.sha256(advert.encode()).digest())
        return Topology(tuple(advert.label for advert in request.adverts), hasher.digest())

    @cached_property
    def public_keys(self) -> dict[str, bytes]:
        """Each participant's X25519 public key of this run."""
        return {advert.label: advert.public_key for advert in self.request.adverts}

    def context(self, first: str, second: str) -> bytes:
        """What keys of this round between two labels are bound to: round, both labels, configuration, request."""
        parts: list[Bytes] = [self.request.round.to_bytes(4)]
        Name().write(first, parts)
        Name().write(second, parts)
        return b"".join([*parts, self.request.adverts[0].config_digest, self.request.digest])

    def header(self, sender: str, recipient: str) -> bytes:
        """Associated data of a sealed bundle."""
        return MAGIC + bytes([VERSION]) + b"bundle\x00" + self.request.run + self.context(sender, recipient)

    def bundle_bytes(self, sender: str) -> int:
        """Length of what a sender seals: a share of its self-mask's seed, then of each partner's, in their order."""
        return SEED_BYTES * (1 + len(self.topology.partners(sender)))

    def unmasked(self, survivors: tuple[str, ...]) -> Iterator[tuple[str, str | None, int]]:
        """Which secrets are opened, in the order of `Shares.values`.

        For each survivor: its self-mask's seed (label, None), then the seed that it has in common with each partner
        that dropped out (label, partner); and its place in that survivor's bundle.
        """
        alive = frozenset(survivors)
        for label in survivors:
            yield label, None, 0
            for place, partner in enumerate(self.topology.partners(label), 1):
                if partner not in alive:
                    yield label, partner, place

    def survivors_digest(self, survivors: tuple[str, ...]) -> bytes:
        """What survivors sign: SHA-256 over the request's digest (so over everything in it) and the survivor set."""
        parts: list[Bytes] = []
        Many(Name(), most=len(survivors)).write(survivors, parts)
        return hashlib.sha256(b"".join([b"sottovoce/1/survivors\x00", self.request.digest, *parts])).digest()

    def check_survivors(self, survivors: tuple[str, ...], *, including: str) -> None:
        """Refuse a survivor set that cannot be this round's.

        Raises:
            WrongSurvivors: it names a label that does not take part, or leaves out `including`.
            TooFewSurvivors: it is below the threshold.
        """
        if not frozenset(survivors) <= frozenset(self.participants):
            raise WrongSurvivors(f"The survivors of round {self.request.round} name a label that takes no part in it.")
        if including not in survivors:
            raise WrongSurvivors(f"The survivors of round {self.request.round} leave out '{including}', who is asked.")
        if len(survivors) < self.topology.threshold:
            raise TooFewSurvivors(
                f"Round {self.request.round} names {len(survivors)} survivors of {len(self.participants)} labels; "
                f"{self.topology.threshold} are needed."
            )

    def check_answers(self, run: bytes, number: int) -> None:
        """Refuse a message that is not of this round.

        Raises:
            WrongRun: it is of another run.
            WrongRound: it is of another round of this run.
        """
        if run != self.request.run:
            raise WrongRun("A message is of another run.")
        if number != self.request.round:
            raise WrongRound(f"A message is of round {number}, while round {self.request.round} is under way.")
