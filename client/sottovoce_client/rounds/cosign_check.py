"""Check that a release's description of a run agrees with the label's records; otherwise the label does not co-sign."""

import hashlib

from sottovoce.errors import ReleaseError
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.identity import Identity
from sottovoce.release.cosigning import Cosignature, CosignRequest, NotAudited, NotCosigning, NotFollowed, OtherAccount
from sottovoce.release.manifest import MODEL_FILE, Manifest, Noise
from sottovoce.release.manifest_reading import read_manifest
from sottovoce.release.signatures import Role, Signature
from sottovoce.run.configuration import Trust
from sottovoce_client.budget.known_heads import open_ledger
from sottovoce_client.budget.rows import Kind
from sottovoce_client.copy_audit import TASKS
from sottovoce_client.home.diary import What
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.policy import Policy

WHICH_TRACKS = "`sottovoce label audit RELEASE --matches` names the tracks."


def cosignature(
    request: CosignRequest, home: LabelHome, agreement: Agreement, policy: Policy, identity: Identity
) -> Cosignature:
    """The label's signature over a manifest that agrees with its records.

    Raises:
        NotCosigning: the policy does not allow it.
        NotAudited: the release generates music, so people co-sign it by hand.
        NotFollowed: the label did not follow the run to its end.
        OtherAccount: the manifest, or the rounds attributed to the label, contradict the records.
        LedgerError: the records cannot be read.
    """
    if not policy.cosign:
        raise NotCosigning("This label's policy does not allow it to co-sign.")
    try:
        manifest = read_manifest(request.manifest)
    except ReleaseError:
        raise OtherAccount("The request contains no valid manifest.") from None
    if manifest.run != request.run.hex():
        raise OtherAccount("The manifest belongs to another run.")
    check_account(manifest, home, agreement, rounds=request.rounds)
    if manifest.task in TASKS:
        # The request contains the manifest but not the model. Besides, an audit that a coordinator could trigger at
        # will would answer questions about the catalogue.
        raise NotAudited("This label co-signs generators and editors only by hand, after an audit.")
    release = hashlib.sha256(request.manifest).hexdigest()
    expect_one_release(manifest, release, home)
    home.diary.cosigned(request.run, release=release)
    signed = Signature.make(identity, Role.LABEL, home.name, request.manifest)
    return Cosignature(request.run, home.name, signed.signature)


def check_account(
    manifest: Manifest, home: LabelHome, agreement: Agreement, *, rounds: tuple[int, ...] | None = None
) -> None:
    """Compare a release's description of a run with the label's records.

    Args:
        manifest: the release's manifest.
        home: the label's home.
        agreement: the agreement, as the label holds it.
        rounds: rounds attributed to the label; None if not stated.

    Raises:
        NotFollowed: the label did not follow the run to its end, and has no weights to compare with.
        OtherAccount: they differ; the message says how.
        LedgerError: the records cannot be read.
    """
    about = home.diary.joining(manifest.run)
    with open_ledger(home) as ledger:
        run = bytes.fromhex(manifest.run)
        charged = {row.round for row in ledger.rows() if row.run == run and row.kind is Kind.CHARGE}
        if about is None or not charged:
            raise OtherAccount("This label has not trained in the release's run.")
        promised, delta = about.get("epsilon"), about.get("delta")
        spent = ledger.epsilon_in(run, delta) if isinstance(promised, float) and isinstance(delta, float) else None
    privacy = manifest.privacy
    noise = Noise.NONE if promised is None else Noise.SYSTEM
    if manifest.agreement != agreement.digest.hex():
        raise OtherAccount("The release names another agreement.")
    if manifest.configuration != about.get("configuration"):
        raise OtherAccount("The release names another configuration than this label has signed.")
    # The configuration's digest covers these, but does not reveal them, and an audit uses what the manifest says.
    said = {"task": manifest.task, "family": manifest.family, "classes": list(manifest.classes)}
    for name, told in said.items():
        if name in about and about[name] != told:
            raise OtherAccount(f"The release's {name} differs from the run that this label joined.")
    weights = home.diary.weights(manifest.run)
    if weights is None:
        raise NotFollowed("This label did not follow the release's run to its end.")
    if manifest.files[MODEL_FILE].sha256 != weights:
        raise OtherAccount("The release's weights differ from those that this label computed from the run's sums.")
    if rounds is not None and not set(rounds) <= charged:
        raise OtherAccount("The release includes this label in a round in which it did not report.")
    if rounds is not None and manifest.rounds < len(rounds):
        raise OtherAccount("The release has fewer rounds than it attributes to this label.")
    if (
        privacy.noise is not noise
        or privacy.unit.value != about.get("unit")
        or not _is_trust(about.get("trust", ""), privacy.trust)
    ):
        raise OtherAccount("The release states another kind of privacy.")
    if promised is not None:
        if privacy.min_honest != agreement.min_honest:
            raise OtherAccount("The release assumes another number of honest labels than agreed.")
        if not any((promise.epsilon, promise.delta) == (promised, delta) for promise in privacy.promises):
            raise OtherAccount("The release does not state this label's (ε, δ).")
        if spent is None or spent > promised:
            raise OtherAccount("This label has spent more than the release states.")


def expect_one_release(manifest: Manifest, release: str, home: LabelHome) -> None:
    """Refuse to sign a second release of a run, which a coordinator could make after a crash.

    Args:
        manifest: the release's manifest.
        release: the manifest's digest, SHA-256 (hex).
        home: the label's home.

    Raises:
        OtherAccount: the label has signed another release of this run.
    """
    if home.diary.cosigned_releases(manifest.run) - {release}:
        raise OtherAccount("This label has signed another release of the run, and signs one per run.")


def _is_trust(noted: str, trust: Trust) -> bool:
    """Whether a diary's note means this kind of noise, by its present or its former name."""
    try:
        return Trust(noted) is trust
    except ValueError:
        return False


def expect_auditable(manifest: Manifest, digest: str, home: LabelHome) -> None:
    """Refuse to audit a release for co-signing if the outcome would reveal more than one bit per run.

    Args:
        manifest: the release's manifest.
        digest: SHA-256 (hex) of its bytes.
        home: the label's home.

    Raises:
        ReleaseError: an audit of another release of the run was begun before, this one failed an audit, or the label's
            notes lack the run's styles.
    """
    if "classes" not in (home.diary.joining(manifest.run) or {}):
        raise ReleaseError(
            "This label joined the run with a version that did not note its styles, so a release could exclude "
            "training tracks from the audit.",
            hint="`sottovoce label audit RELEASE` audits the styles that the release names, without signing.",
        )
    notes = [note for note in home.diary.notes() if note.run == manifest.run]
    begun = [note for note in notes if note.what is What.AUDIT_BEGUN or note.details.get("cosign")]
    if any(note.details.get("release") != digest for note in begun):
        raise ReleaseError(
            "This label has audited another release of this run for co-signing; it does so for one release per run."
        )
    failed = [note for note in notes if note.what is What.AUDITED and not note.details.get("passed")]
    if any(note.details.get("release") == digest for note in failed):
        raise ReleaseError(
            "This release failed the copy audit before; a second attempt is not allowed.", hint=WHICH_TRACKS
        )
