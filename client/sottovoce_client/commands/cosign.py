"""`sottovoce label cosign`: by hand, what a label that has joined does by itself when it is asked to."""

from pathlib import Path

from sottovoce.commands.output import results, shown
from sottovoce.errors import ReleaseError
from sottovoce.release.check import check
from sottovoce.release.cosigning import OtherAccount
from sottovoce.release.write import cosign
from sottovoce_client.commands.common import opened, unlock
from sottovoce_client.cosign import check_account


def cosign_release(release: Path, home: Path | None, *, passphrase_file: Path | None) -> None:
    """Check a release against the label's own books, and add the label's signature to it.

    Raises:
        SottovoceError: home or release are not in order.
        ReleaseError: the release tells another story than the label's books.
    """
    label = opened(home)
    unlock(label, passphrase_file)
    agreement = label.agreement()
    checked = check(release, agreement.coordinator_key)
    try:
        check_account(checked.manifest, label, agreement)
    except OtherAccount as error:
        raise ReleaseError(f"{shown(release)} is not signed: {error.message}") from None
    cosign(release, label.identity(), label=label.name, trusted_key=agreement.coordinator_key)
    label.diary.cosigned(bytes.fromhex(checked.manifest.run))
    results().print(
        f"Signed {shown(release)} as '{label.name}': it agrees with this label's own books.", soft_wrap=True
    )
