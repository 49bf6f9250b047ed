"""Which version of the protocol a run uses, and how a downgrade shows.

A coordinator asks all labels which versions they speak, and each answers with a signed range. The run uses the newest
version that all of them speak. A label of the former release cannot answer, so it counts as speaking that version only.

Nobody relies on these answers. Each label ends the nonce of its set-up in the newest version that it speaks: its
advert commits to the nonce, its reveal signs it, and every member sees it before it makes keys with the others. All
find out, the coordinator included, when somebody removes or replaces an answer on its way; RFC 8446, section 4.1.3,
does the same for TLS. A coordinator can still pretend to be of the former release, until a label has met it in a newer
version, or where the label's policy allows no older one.
"""

import os
from collections.abc import Collection, Iterable

from sottovoce.federation.identity import Identity
from sottovoce.protocol.adverts import Roster, check_origin
from sottovoce.protocol.message import FORMER_VERSION, SECRET_BYTES, SPOKEN, VERSION, Message
from sottovoce.protocol.messages import Versions, VersionsRequest
from sottovoce.protocol.violations import Downgraded, WrongAgreement, WrongVersion

MARK = b"SoVo\x00\x00\x00"
"""The bytes of a nonce before its last one, which is the newest version that its label speaks."""
JOIN_TAG_BYTES = 6
"""Length of the join tag before the mark."""


def stated(request: VersionsRequest, identity: Identity, *, label: str, agreement: bytes, oldest: int) -> Versions:
    """A label's answer.

    Args:
        request: the coordinator's request.
        identity: the label's identity key.
        label: its name.
        agreement: digest of its agreement.
        oldest: oldest version that its policy allows.

    Raises:
        WrongAgreement: the run is under another agreement.
    """
    if request.agreement != agreement:
        raise WrongAgreement("The run is under another agreement than this label's.")
    return Versions.sign(
        identity, run=request.run, agreement=agreement, label=label, oldest=max(oldest, SPOKEN[0]), newest=VERSION
    )


class Negotiation:
    """What a coordinator knows of the versions that the labels of one run speak.

    Args:
        run: the run.
        agreement: digest of the agreement.
        identities: pinned identity keys.
    """

    def __init__(self, run: bytes, agreement: bytes, identities: Roster) -> None:
        self._run, self._agreement = run, agreement
        self._identities = identities
        self._ranges: dict[str, range] = {}
        self._shown: dict[str, int] = {}

    @property
    def request(self) -> VersionsRequest:
        """The question, for every label."""
        return VersionsRequest(self._run, self._agreement)

    def take(self, answer: Versions) -> None:
        """Note a label's answer.

        Raises:
            WrongRun, WrongAgreement, UnknownLabel, BadSignature: as their names say.
        """
        check_origin(answer, run=self._run, agreement=self._agreement, roster=self._identities)
        self._ranges[answer.label] = range(answer.oldest, answer.newest + 1)

    def show(self, label: str, version: int) -> None:
        """Note a version that a label shows to speak, by its advert or its nonce, in case its answer did not arrive."""
        self._shown[label] = max(version, self._shown.get(label, FORMER_VERSION))

    def chosen(self, labels: Iterable[str], *, silent: int = 0) -> int:
        """The newest version that all speak, or else the one that most speak, the newest of these.

        Args:
            labels: names; those that have not stated anything count as speaking the former version only.
            silent: number of further labels whose names are unknown, which count likewise.
        """
        ranges = [self.spoken_by(label) for label in labels]
        former = {FORMER_VERSION: silent}
        return max(SPOKEN, key=lambda each: (sum(each in spoken for spoken in ranges) + former.get(each, 0), each))

    def spoken_by(self, label: str) -> range:
        """The versions that a label is known to speak."""
        return self._ranges.get(label, range(FORMER_VERSION, self._shown.get(label, FORMER_VERSION) + 1))

    @property
    def answered(self) -> Collection[str]:
        """Labels that have stated their versions."""
        return self._ranges.keys()

    def left_out(self, version: int) -> dict[str, str]:
        """Labels that do not speak a version, and why that excludes them, in words."""
        return {
            label: f"the run uses version {version} of the protocol, and it speaks {_words(spoken)}"
            for label, spoken in self._ranges.items()
            if version not in spoken
        }


def _words(spoken: range) -> str:
    return f"version {spoken[0]} only" if len(spoken) == 1 else f"versions {spoken[0]} to {spoken[-1]} only"


def check_version(message: Message, version: int) -> None:
    """Refuse a message of another version than its run's.

    Raises:
        WrongVersion: it is.
    """
    if message.version != version:
        raise WrongVersion(
            f"A {type(message).__name__} is of version {message.version} of the protocol; the run uses {version}."
        )


def marked_nonce(join_tag: bytes | None = None) -> bytes:
    """A new nonce (32 bytes): 18 random bytes, a join tag, and the newest version that this release speaks.

    Args:
        join_tag: 6 bytes that differ in each run that the label joins; None for random ones.
    """
    end = (os.urandom(JOIN_TAG_BYTES) if join_tag is None else join_tag) + MARK + bytes([VERSION])
    return os.urandom(SECRET_BYTES - len(end)) + end


def join_tag_of(nonce: bytes) -> bytes | None:
    """The join tag in a nonce; None if its label speaks only the former version, which has none."""
    marked = nonce[-1 - len(MARK) : -1] == MARK
    return nonce[-1 - len(MARK) - JOIN_TAG_BYTES : -1 - len(MARK)] if marked else None


def newest_of(nonce: bytes) -> int:
    """The newest version that a nonce's label speaks; the former one for a label that does not state it."""
    return max(nonce[-1], FORMER_VERSION) if nonce[-1 - len(MARK) : -1] == MARK else FORMER_VERSION


def check_no_downgrade(version: int, nonces: Iterable[bytes], met: int) -> None:
    """Refuse a run in an earlier version than its members and their coordinator speak.

    Args:
        version: the run's.
        nonces: all members' nonces.
        met: newest version in which this label has met the coordinator; 0 to accept any.

    Raises:
        Downgraded: all members and the coordinator speak a newer one.
    """
    common = min(met, VERSION, *map(newest_of, nonces))
    if version < common:
        raise Downgraded(
            f"The run uses version {version} of the protocol, but all its members and its coordinator speak version "
            f"{common}: somebody wants the earlier one."
        )
