"""Whether a release tells of a run what the label has in its own books; only then does the label co-sign it."""

from sottovoce.errors import ReleaseError
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.identity import Identity
from sottovoce.release.cosigning import Cosignature, CosignRequest, NotAudited, NotCosigning, NotFollowed, OtherAccount
from sottovoce.release.manifest import MODEL_FILE, Manifest, Noise
from sottovoce.release.manifest_reading import read_manifest
from sottovoce.release.signatures import Role, Signature
from sottovoce.run.configuration import Trust
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.budget.rows import Kind
from sottovoce_client.copy_audit import TASKS
from sottovoce_client.home.diary import What
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.policy import Policy

WHICH_TRACKS = "`sottovoce label audit RELEASE --matches` names the tracks, to you only."


def cosignature(
    request: CosignRequest, home: LabelHome, agreement: Agreement, policy: Policy, identity: Identity
) -> Cosignature:
    """The label's signature over a manifest that agrees with its own books.

    Raises:
        NotCosigning: the policy does not allow it.
        NotAudited: the release makes music, so that people sign it.
        NotFollowed: the label did not follow the run to its end.
        OtherAccount: the manifest, or the rounds that the label is said to be part of, do not agree.
        LedgerError: the books cannot be read.
    """
    if not policy.cosign:
        raise NotCosigning("This label's policy does not let it co-sign.")
    try:
        manifest = read_manifest(request.manifest)
    except ReleaseError:
        raise OtherAccount("What came is no manifest.") from None
    if manifest.run != request.run.hex():
        raise OtherAccount("The manifest is of another run.")
    check_account(manifest, home, agreement, rounds=request.rounds)
    if manifest.task in TASKS:
        # The manifest names the model and does not bring it. And an audit that a coordinator could have done at will
        # would answer questions about the catalogue.
        raise NotAudited("This label co-signs what makes music by hand only, after an audit.")
    signed = Signature.make(identity, Role.LABEL, home.name, request.manifest)
    home.diary.cosigned(request.run)
    return Cosignature(request.run, home.name, signed.signature)


def check_account(
    manifest: Manifest, home: LabelHome, agreement: Agreement, *, rounds: tuple[int, ...] | None = None
) -> None:
    """Compare a release's account of a run with the label's own.

    Args:
        manifest: of the release.
        home: the label's.
        agreement: as the label holds it.
        rounds: those that the label is said to be part of; None where nobody says.

    Raises:
        NotFollowed: the label did not follow the run to its end, and has no weights to compare with.
        OtherAccount: they differ; the message says in what.
        LedgerError: the books cannot be read.
    """
    about = home.diary.joining(manifest.run)
    with Ledger(home.ledger_file) as ledger:
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
    # The configuration's digest binds these, but its values are not in it, and an audit goes by what a manifest says.
    said = {"task": manifest.task, "family": manifest.family, "classes": list(manifest.classes)}
    for name, told in said.items():
        if name in about and about[name] != told:
            raise OtherAccount(f"The release's {name} is not what this label has joined the run for.")
    weights = home.diary.weights(manifest.run)
    if weights is None:
        raise NotFollowed("This label did not follow the release's run to its end.")
    if manifest.files[MODEL_FILE].sha256 != weights:
        raise OtherAccount("The release holds other weights than the run's sums have led this label to.")
    if rounds is not None and not set(rounds) <= charged:
        raise OtherAccount("The release counts this label in a round that it has not reported in.")
    if rounds is not None and manifest.rounds < len(rounds):
        raise OtherAccount("The release counts fewer rounds than this label is said to be part of.")
    if (
        privacy.noise is not noise
        or privacy.unit.value != about.get("unit")
        or not _is_trust(about.get("trust"), privacy.trust)
    ):
        raise OtherAccount("The release states another kind of privacy.")
    if promised is not None:
        if privacy.min_honest != agreement.min_honest:
            raise OtherAccount("The release counts on another number of honest labels than was agreed on.")
        if not any((promise.epsilon, promise.delta) == (promised, delta) for promise in privacy.promises):
            raise OtherAccount("The release does not state what this label has promised.")
        if spent is None or spent > promised:
            raise OtherAccount("This label has spent more than the release states.")


def _is_trust(noted: str | None, trust: Trust) -> bool:
    """Whether a diary's note means this trust, by its present or its former name."""
    try:
        return noted is not None and Trust(noted) is trust
    except ValueError:
        return False


def expect_auditable(manifest: Manifest, digest: str, home: LabelHome) -> None:
    """Refuse to audit a release for a co-signature where that would tell more than one bit of a run.

    Args:
        manifest: of the release.
        digest: of its bytes, SHA-256 (hex).
        home: the label's.

    Raises:
        ReleaseError: an audit of another release of the run was begun for one before, this one failed an audit, or the
            label does not know which styles the run had.
    """
    if "classes" not in (home.diary.joining(manifest.run) or {}):
        raise ReleaseError(
            "This label joined the run with a version that did not note its styles, so that an audit could be led past "
            "some of what was trained on.",
            hint="`sottovoce label audit RELEASE` audits by the styles that the release names, and signs nothing.",
        )
    notes = [note for note in home.diary.notes() if note.run == manifest.run]
    begun = [note for note in notes if note.what is What.AUDIT_BEGUN or note.details.get("cosign")]
    if any(note.details.get("release") != digest for note in begun):
        raise ReleaseError(
            "This label has audited another release of the same run to co-sign it, and answers for one release a run."
        )
    failed = [note for note in notes if note.what is What.AUDITED and not note.details.get("passed")]
    if any(note.details.get("release") == digest for note in failed):
        raise ReleaseError(
            "This release has failed the copy audit before, and chance gives it no second one.", hint=WHICH_TRACKS
        )
