"""`sottovoce label cosign`: co-sign by hand; joined labels do it automatically when asked.

Generators and editors are audited first, and are co-signed only in this way.
"""

import hashlib
from pathlib import Path

from sottovoce.commands.output import results, shown
from sottovoce.errors import ReleaseError
from sottovoce.release.check import check
from sottovoce.release.cosigning import NotFollowed, OtherAccount
from sottovoce.release.write import cosign
from sottovoce_client.commands.label.audit import audited
from sottovoce_client.commands.label.common import opened, unlock
from sottovoce_client.copy_audit import TASKS
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.rounds.cosign_check import WHICH_TRACKS, check_account, expect_auditable, expect_one_release


def cosign_release(release: Path, home: Path | None, *, passphrase_file: Path | None) -> None:
    """Check a release against the label's own records, and add the label's signature.

    Raises:
        SottovoceError: home or release cannot be used.
        ReleaseError: the release contradicts the label's records.
        CopiesFound: it generates music that is too close to the label's own.
    """
    label = opened(home)
    unlock(label, passphrase_file)
    agreement = label.agreement()
    checked = check(release, agreement.coordinator_key)
    signed = hashlib.sha256(checked.raw).hexdigest()
    try:
        check_account(checked.manifest, label, agreement)
        expect_one_release(checked.manifest, signed, label)
    except (NotFollowed, OtherAccount) as error:
        raise ReleaseError(f"{shown(release)} is not signed: {error.message}") from None
    makes_music = checked.manifest.task in TASKS
    digest = _audit(release, label, agreement.coordinator_key) if makes_music else None
    cosign(release, label.identity(), label=label.name, trusted_key=agreement.coordinator_key, digest=digest)
    label.diary.cosigned(bytes.fromhex(checked.manifest.run), release=signed)
    also = ", and its samples contain no copies of this label's music" if makes_music else ""
    results().print(
        f"Signed {shown(release)} as '{label.name}': it agrees with this label's own records{also}.", soft_wrap=True
    )


def _audit(release: Path, label: LabelHome, trusted_key: bytes) -> str:
    """The digest of a release that passed its audit.

    Raises:
        ReleaseError: the release cannot be used, or this label may not audit it again.
        CatalogueError: there is nothing to compare with.
        CopiesFound: it did not pass.
    """
    from sottovoce.release.load import load
    from sottovoce_client.copy_audit.release_audit import CopiesFound

    model = load(release, trusted_key)
    expect_auditable(model.manifest, model.digest, label)
    # Noted before the audit: any outcome of an audit, even an error, reveals something about the catalogue.
    label.diary.audit_begun(bytes.fromhex(model.manifest.run), release=model.digest)
    if not audited(label, model, cosign=True).passed:
        raise CopiesFound(
            f"{shown(release)} is not signed: its samples are too close to this label's music.", hint=WHICH_TRACKS
        )
    return model.digest
