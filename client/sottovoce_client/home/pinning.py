"""From a signed `federation.toml` to one that is pinned in the label's home; what stands against taking part."""

from pathlib import Path

from sottovoce.errors import ConfigurationError, SplitView, UserError
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.invitation import Invitation
from sottovoce.files import write_text
from sottovoce_client.home.confirmations import confirmed_by, keep_confirmations
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.policy import Policy


def objections(
    home: LabelHome, invitation: Invitation, policy: Policy, *, identity_key: bytes | None = None
) -> list[str]:
    """Why the label cannot take part in a federation at all, in words; nothing where it can.

    Args:
        home: the label's.
        invitation: as it reached the label.
        policy: the label's.
        identity_key: the label's public key; None where it is not at hand.
    """
    agreement = invitation.agreement
    found = []
    pinned = agreement.key_of(home.name)
    if pinned is None:
        found.append(f"the agreement does not name '{home.name}': hand enrolment.json to the coordinator")
    elif identity_key is not None and pinned != identity_key:
        found.append(f"the agreement pins another key for '{home.name}' than this home's")
    if agreement.noise not in policy.trust:
        found.append(f"the policy does not accept that privacy rests on {agreement.noise} noise")
    if len(agreement.members) < policy.least_participants:
        found.append(f"the policy wants {policy.least_participants} labels in a round, and it names fewer")
    confirmed, needed = (
        confirmed_by(home, agreement, invitation.confirmations),
        policy.confirmed_of(len(agreement.members)),
    )
    if pinned is not None and len(confirmed) < needed:
        found.append(
            f"{len(confirmed)} of the other labels are confirmed to be real, and {needed} have to be "
            "(sottovoce label confirm NAME)"
        )
    found += _objections_to_log(home, invitation)
    before = pinned_agreement(home)
    if before is not None and before.coordinator_key != agreement.coordinator_key:
        found.append("this home has joined a federation of another coordinator")
    return found


def pin(home: LabelHome, file: Path, policy: Policy) -> Invitation:
    """Verify a signed agreement and make it the one that this label goes by: all of it, or nothing.

    Raises:
        ConfigurationError: it cannot be read or verified, or the label cannot take part in it.
    """
    try:
        invitation = Invitation.read(file)
    except UserError as error:
        raise type(error)(f"The agreement {file.name}: {error.message}", hint=error.hint) from None
    reasons = objections(home, invitation, policy, identity_key=home.identity().public_key)
    if reasons:
        raise ConfigurationError(
            f"This label cannot take part: {'; '.join(reasons)}.", hint=f"sottovoce label check {file.name} says more."
        )
    home.log_memory.remember(invitation.evidence)
    write_text(home.certificate_file, invitation.certificate)
    invitation.write(home.invitation_file)
    keep_confirmations(home, invitation.confirmations, joined=invitation.agreement)
    invitation.agreement.write(home.agreement_file)
    return invitation


def _objections_to_log(home: LabelHome, invitation: Invitation) -> list[str]:
    """Why an agreement may not follow what this label has seen of its coordinator's log."""
    evidence, seen = invitation.evidence, home.log_memory.newest(invitation.agreement.coordinator_key)
    try:
        home.log_memory.expect_same_log(evidence)
    except SplitView as error:
        return [error.message.rstrip(".")]
    if seen is not None and evidence.index < seen.index:  # the head says nothing: the coordinator signs the newest anew
        return ["the agreement is older than one that this label has seen"]
    return []


def pinned_agreement(home: LabelHome) -> Agreement | None:
    """The agreement that the label goes by, if any.

    Raises:
        ConfigurationError: it is damaged.
    """
    return home.agreement() if home.agreement_file.exists() else None
