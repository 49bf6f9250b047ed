"""`sottovoce label cosign`: by hand, what a label that has joined does by itself when it is asked to.

What makes music is audited first, and is co-signed in this way only.
"""

from pathlib import Path

from sottovoce.commands.output import results, shown
from sottovoce.errors import ReleaseError
from sottovoce.release.check import check
from sottovoce.release.cosigning import OtherAccount
from sottovoce.release.write import cosign
from sottovoce_client.commands.label.audit import audited
from sottovoce_client.commands.label.common import opened, unlock
from sottovoce_client.copy_audit import TASKS
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.rounds.cosign_check import WHICH_TRACKS, check_account, expect_auditable


def cosign_release(release: Path, home: Path | None, *, passphrase_file: Path | None) -> None:
    """Check a release against the label's own books, and add the label's signature to it.

    Raises:
        SottovoceError: home or release are not in order.
        ReleaseError: the release tells another story than the label's books.
        CopiesFound: it makes music that is too close to the label's own.
    """
    label = opened(home)
    unlock(label, passphrase_file)
    agreement = label.agreement()
    checked = check(release, agreement.coordinator_key)
    try:
        check_account(checked.manifest, label, agreement)
    except OtherAccount as error:
        raise ReleaseError(f"{shown(release)} is not signed: {error.message}") from None
    makes_music = checked.manifest.task in TASKS
    digest = _audit(release, label, agreement.coordinator_key) if makes_music else None
    cosign(release, label.identity(), label=label.name, trusted_key=agreement.coordinator_key, digest=digest)
    label.diary.cosigned(bytes.fromhex(checked.manifest.run))
    also = ", and nothing of this label's music was found in what it makes" if makes_music else ""
    results().print(
        f"Signed {shown(release)} as '{label.name}': it agrees with this label's own books{also}.", soft_wrap=True
    )


def _audit(release: Path, label: LabelHome, trusted_key: bytes) -> str:
    """The digest of a release that has passed.

    Raises:
        ReleaseError: the release is not in order, or this label answers no more about it.
        CatalogueError: there is nothing to compare with.
        CopiesFound: it did not pass.
    """
    from sottovoce.release.load import load
    from sottovoce_client.copy_audit.release_audit import CopiesFound

    model = load(release, trusted_key)
    expect_auditable(model.manifest, model.digest, label)
    # Before, not after: what comes of an audit that is begun, even an error, is an answer about the catalogue.
    label.diary.audit_begun(bytes.fromhex(model.manifest.run), release=model.digest)
    if not audited(label, model, cosign=True).passed:
        raise CopiesFound(
            f"{shown(release)} is not signed: what it makes is too close to this label's music.", hint=WHICH_TRACKS
        )
    return model.digest
