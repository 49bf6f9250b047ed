"""Labels' signatures under a published release only ever grow: here is the one place where they are put together."""

from collections.abc import Iterable
from dataclasses import dataclass

from sottovoce.errors import ReleaseError
from sottovoce.federation.agreement import Agreement
from sottovoce.release.manifest import Manifest
from sottovoce.release.signatures import Role, Signature


def extended(
    kept: tuple[Signature, ...], more: Iterable[Signature], manifest: bytes, agreement: Agreement | None = None
) -> tuple[Signature, ...]:
    """The signatures that a release has, and those of further labels.

    Args:
        kept: what it has, the coordinator's first; all of it stays.
        more: what may be added; the coordinator's own and labels that signed already are passed over.
        manifest: its bytes.
        agreement: whose members alone may sign, with the keys that it pins; None: labels state their own.

    Raises:
        ReleaseError: a signature does not hold, is by no member, or is by a label that signed with another key.
    """
    known = {(each.role, each.name): each for each in kept}
    added = []
    for each in more:
        before = known.get((each.role, each.name))
        if before is not None and before.public_key != each.public_key:
            raise ReleaseError(f"The {each.role} '{each.name}' has signed this release with another key already.")
        if before is not None:
            continue
        if each.role is not Role.LABEL or not each.holds(manifest):
            raise ReleaseError(f"The signature of '{each.name}' does not fit this release.")
        known[each.role, each.name] = each
        added.append(each)
    if agreement is not None:
        expect_members(added, agreement)
    return (*kept, *added)


def expect_members(signatures: Iterable[Signature], agreement: Agreement) -> None:
    """Only members sign, with the keys that the agreement pins.

    Raises:
        ReleaseError: somebody else did.
    """
    for each in signatures:
        if each.role is Role.LABEL and agreement.key_of(each.name) != each.public_key:
            raise ReleaseError(
                f"'{each.name}' is no member of the federation with that key.",
                hint="Do not use the release before its coordinator has explained who that is. If it was made under an "
                "earlier agreement, check it with that one.",
            )


@dataclass(frozen=True)
class Cosigned:
    """How the labels' signatures under a release relate to an agreement, whose members alone have signed.

    Args:
        labels: names of the members that have co-signed.
        members: how many members the agreement has.
        same: whether the release was made under this very agreement.
    """

    labels: tuple[str, ...]
    members: int
    same: bool

    @property
    def sentence(self) -> str:
        """The same in words."""
        names = f": {', '.join(self.labels)}" if self.labels else ""
        made = "this agreement" if self.same else "another version of the agreement than the one given"
        return f"{len(self.labels)} of {self.members} members co-signed{names}. It was made under {made}."


def cosigned_by(signatures: Iterable[Signature], agreement: Agreement, manifest: Manifest) -> Cosigned:
    """Compare labels' signatures, which hold, with an agreement.

    Raises:
        ReleaseError: one is by somebody who is no member, or with another key.
    """
    labels = [each for each in signatures if each.role is Role.LABEL]
    expect_members(labels, agreement)
    names = tuple(each.name for each in labels)
    return Cosigned(names, len(agreement.members), manifest.agreement == agreement.digest.hex())
