"""Labels' signatures under a published release only ever grow: here is the one place where they are put together."""

from collections.abc import Iterable

from sottovoce.errors import ReleaseError
from sottovoce.federation.agreement import Agreement
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
            raise ReleaseError(f"'{each.name}' is no member of the federation with that key.")
