"""Unmasking at the coordinator: check each share by its tag, recover the secrets, derive the remaining masks."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from sottovoce.errors import RoundAborted
from sottovoce.protocol.evidence import Evidence
from sottovoce.protocol.keys import key_tag, secret_commitment, share_tag
from sottovoce.protocol.message import SECRET_BYTES
from sottovoce.protocol.messages import Box, Complaint, Delivered, Preparation, Shares
from sottovoce.protocol.pair_keys import mask_seed
from sottovoce.protocol.round_context import Round
from sottovoce.protocol.shamir import combine
from sottovoce.protocol.sharing import open_vault
from sottovoce.protocol.unmasking import opened
from sottovoce.protocol.violations import BadSeal


@dataclass(frozen=True)
class Boxes:
    """What a report contains besides its vector: the commitment to its self-mask's secret, and that secret's shares."""

    commitment: bytes
    boxes: tuple[Box, ...] = field(repr=False)


@dataclass(frozen=True)
class Opening:
    """A round being unmasked.

    Args:
        round: the round.
        survivors: labels whose vectors are in the sum.
        reports: the survivors' reports.
        preparations: all participants' preparations for this round.
    """

    round: Round
    survivors: tuple[str, ...]
    reports: Mapping[str, Boxes]
    preparations: Mapping[str, Preparation]

    def source(self, sender: str) -> Boxes | Preparation:
        """The message whose boxes are opened for a label: its report, or its preparation if it dropped out."""
        return self.reports[sender] if sender in self.alive else self.preparations[sender]

    @cached_property
    def alive(self) -> frozenset[str]:
        """The survivors, as a set."""
        return frozenset(self.survivors)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Each holder's index."""
        return {label: number for number, label in enumerate(self.round.topology.holders)}

    def box(self, sender: str, holder: str) -> Box:
        """The box that a label sealed to a holder: boxes are in the holders' order, without the sender's own."""
        number = self.numbers[holder]
        return self.source(sender).boxes[number - (self.numbers.get(sender, len(self.numbers)) < number)]

    def delivery(self, holder: str) -> tuple[Delivered, ...]:
        """All boxes for one holder, in ascending order of the participants."""
        return tuple(self._delivered(sender, holder) for sender in self.round.participants if sender != holder)

    def _delivered(self, sender: str, holder: str) -> Delivered:
        box = self.box(sender, holder)
        return Delivered(self.source(sender).commitment, box.sealed, box.share_tag)

    def judge(self, complaint: Complaint, holder: str, evidence: Evidence) -> bytes | None:
        """Decide who is wrong when a holder complains that a box does not open; return the share if it does open."""
        sender, key = complaint.label, complaint.key
        if key_tag(key) != self.box(sender, holder).key_tag:
            evidence.dispute(sender, holder)
            return None
        try:
            share = opened(self._delivered(sender, holder), key, self.round, sender, holder, alive=sender in self.alive)
        except BadSeal:
            evidence.accuse(sender, "sealed a share that does not open")
            return None
        evidence.accuse(holder, "complained of a share that does open")
        return share


def masks_left(opening: Opening, answers: Mapping[str, Shares], evidence: Evidence) -> tuple[list[bytes], list[bytes]]:
    """Seeds of the masks that remain in the sum over the survivors.

    Args:
        opening: the round.
        answers: each holder's shares.
        evidence: collects who lied.

    Returns:
        Seeds whose masks were added, and seeds whose masks were subtracted.

    Raises:
        RoundAborted: too few valid shares of a secret, or a label's secret does not match its commitment.
    """
    round_ = opening.round
    secrets = _secrets(opening, _checked(opening, answers, evidence), evidence)
    request, session = round_.request.digest, round_.session
    added = [mask_seed(secrets[label], "self-mask", session, request) for label in opening.survivors]
    subtracted: list[bytes] = []
    for label in round_.participants:
        if label in opening.alive:
            continue
        try:
            keys = open_vault(opening.preparations[label], secrets[label], session)
        except BadSeal:
            evidence.accuse(label, "prepared a vault that does not match its tags")
            raise RoundAborted(f"Round {round_.request.round}: the vault of '{label}' is wrong.") from None
        for partner, key in zip(round_.topology.partners(label), keys, strict=True):
            if partner in opening.alive:
                seed = mask_seed(key, "mask", session, request)
                (added if label > partner else subtracted).append(seed)
    return added, subtracted


def _checked(opening: Opening, answers: Mapping[str, Shares], evidence: Evidence) -> dict[str, dict[int, bytes]]:
    """Each participant's valid shares, by the holder's index."""
    participants = opening.round.participants
    shares: dict[str, dict[int, bytes]] = {label: {} for label in participants}
    for holder, given in answers.items():
        complaints = {complaint.label: complaint for complaint in given.complaints}
        values = iter(given.values)
        for sender in participants:
            if sender in complaints:
                share = opening.judge(complaints[sender], holder, evidence)
            else:
                share = next(values)
                if sender != holder and share_tag(share) != opening.box(sender, holder).share_tag:
                    evidence.accuse(holder, "sent another share than it received")
                    share = None
            if share is not None:
                shares[sender][opening.numbers[holder]] = share
    return shares


def _secrets(opening: Opening, shares: Mapping[str, Mapping[int, bytes]], evidence: Evidence) -> dict[str, bytes]:
    """Each participant's secret, from valid shares."""
    number, needed = opening.round.request.round, opening.round.topology.share_threshold
    alike: defaultdict[tuple[int, ...], list[str]] = defaultdict(list)
    for label, given in shares.items():
        if len(given) < needed:
            raise RoundAborted(
                f"Round {number}: {len(given)} valid shares of the secret of '{label}' arrived; {needed} are needed."
            )
        own = opening.numbers.get(label)  # no tag of it exists, so it is used last
        used = sorted(given, key=lambda holder: (holder == own, holder))
        alike[tuple(used[:needed])].append(label)
    secrets = {}
    for numbers, labels in alike.items():
        matrix = np.array(
            [np.frombuffer(b"".join(shares[label][holder] for label in labels), np.uint8) for holder in numbers]
        )
        together = combine(numbers, matrix, threshold=needed)
        for place, label in enumerate(labels):
            secrets[label] = together[place * SECRET_BYTES : (place + 1) * SECRET_BYTES]
    wrong = [label for label in secrets if secret_commitment(secrets[label]) != opening.source(label).commitment]
    for label in wrong:
        evidence.accuse(label, "shared another secret than it committed to")
    if wrong:
        raise RoundAborted(f"Round {number}: the secret of '{wrong[0]}' does not match its commitment.")
    return secrets
