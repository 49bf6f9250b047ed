"""Labels' signatures of a published release: they can only be added, and only here."""

from collections.abc import Iterable
from dataclasses import dataclass

from sottovoce.errors import ReleaseError
from sottovoce.federation.agreement import Agreement
from sottovoce.release.manifest import Manifest
from sottovoce.release.signatures import Role, Signature


def extended(
    kept: tuple[Signature, ...], more: Iterable[Signature], manifest: bytes, agreement: Agreement | None = None
) -> tuple[Signature, ...]:
    """The release's signatures, followed by valid signatures of further labels.

    Args:
        kept: present signatures, the coordinator's first; all are kept.
        more: candidates; the coordinator's own and those of labels that already signed are ignored.
        manifest: the manifest's bytes.
        agreement: if given, only its members may sign, with the keys that it pins; None: labels state their own keys.

    Raises:
        ReleaseError: a signature is invalid, is not by a member, or is by a label that signed with another key.
    """
    known = {(each.role, each.name): each for each in kept}
    added = []
    for each in more:
        before = known.get((each.role, each.name))
        if before is not None and before.public_key != each.public_key:
            raise ReleaseError(f"The {each.role} '{each.name}' has already signed this release with another key.")
        if before is not None:
            continue
        if each.role is not Role.LABEL or not each.holds(manifest):
            raise ReleaseError(f"The signature of '{each.name}' is not valid for this release.")
        known[each.role, each.name] = each
        added.append(each)
    if agreement is not None:
        expect_members(added, agreement)
    return (*kept, *added)


def expect_members(signatures: Iterable[Signature], agreement: Agreement) -> None:
    """Check that only members signed, with the keys that the agreement pins.

    Raises:
        ReleaseError: somebody else signed.
    """
    for each in signatures:
        if each.role is Role.LABEL and agreement.key_of(each.name) != each.public_key:
            raise ReleaseError(
                f"'{each.name}' is not a member of the federation with that key.",
                hint="Do not use the release until its coordinator explains who that is. If it was made under an "
                "earlier agreement, check it with that one.",
            )


@dataclass(frozen=True)
class Cosigned:
    """How the labels' signatures of a release relate to an agreement; only its members have signed.

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
        """The result in words."""
        names = f": {', '.join(self.labels)}" if self.labels else ""
        made = "this agreement" if self.same else "a different agreement"
        return f"{len(self.labels)} of {self.members} members co-signed{names}. It was made under {made}."


def cosigned_by(signatures: Iterable[Signature], agreement: Agreement, manifest: Manifest) -> Cosigned:
    """Compare labels' valid signatures with an agreement.

    Raises:
        ReleaseError: one is not by a member, or is made with another key.
    """
    labels = [each for each in signatures if each.role is Role.LABEL]
    expect_members(labels, agreement)
    names = tuple(each.name for each in labels)
    return Cosigned(names, len(agreement.members), manifest.agreement == agreement.digest.hex())
