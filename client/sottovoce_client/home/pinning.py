"""Pinning of a signed `federation.toml` in the label's home, and obstacles to taking part."""

import tomllib
from pathlib import Path

from sottovoce.errors import ConfigurationError, OtherVersion, SplitView, UserError
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.invitation import Invitation
from sottovoce.files import write_text
from sottovoce_client.home.confirmations import confirmed_by, keep_confirmations
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.policy import Policy


def objections(
    home: LabelHome, invitation: Invitation, policy: Policy, *, identity_key: bytes | None = None
) -> list[str]:
    """Why the label cannot take part in a federation, in words; empty if it can.

    Args:
        home: the label's home.
        invitation: the signed agreement.
        policy: the label's policy.
        identity_key: the label's public key; None if unavailable.
    """
    agreement = invitation.agreement
    found = []
    pinned = agreement.key_of(home.name)
    if pinned is None:
        found.append(f"the agreement does not name '{home.name}': send enrolment.json to the coordinator")
    elif identity_key is not None and pinned != identity_key:
        found.append(f"the agreement pins another key for '{home.name}' than this home's")
    if agreement.noise not in policy.trust:
        found.append(f"the policy does not accept {agreement.noise} noise")
    if len(agreement.members) < policy.least_participants:
        found.append(
            f"the policy requires {policy.least_participants} labels in a round, but the agreement names fewer"
        )
    confirmed, needed = (
        confirmed_by(home, agreement, invitation.confirmations),
        policy.confirmed_of(len(agreement.members)),
    )
    if pinned is not None and len(confirmed) < needed:
        found.append(
            f"{len(confirmed)} of the other labels are confirmed, but {needed} must be (sottovoce label confirm NAME)"
        )
    found += _objections_to_log(home, invitation)
    if _pinned_coordinator(home) not in (None, agreement.coordinator_key.hex()):
        found.append("this home has joined a federation of another coordinator")
    return found


def pin(home: LabelHome, file: Path, policy: Policy) -> Invitation:
    """Verify a signed agreement and pin it: completely or not at all.

    Raises:
        ConfigurationError: it cannot be read or verified, or the label cannot take part in it.
    """
    try:
        invitation = Invitation.read(file)
    except UserError as error:
        raise type(error)(f"Agreement {file.name}: {error.message}", hint=error.hint) from None
    reasons = objections(home, invitation, policy, identity_key=home.identity().public_key)
    if reasons:
        raise ConfigurationError(
            f"This label cannot take part: {'; '.join(reasons)}.", hint=f"Details: sottovoce label check {file.name}"
        )
    home.log_memory.remember(invitation.evidence)
    write_text(home.certificate_file, invitation.certificate)
    invitation.write(home.invitation_file)
    keep_confirmations(home, invitation.confirmations, joined=invitation.agreement)
    invitation.agreement.write(home.agreement_file)
    return invitation


def _objections_to_log(home: LabelHome, invitation: Invitation) -> list[str]:
    """Whether an agreement contradicts the coordinator's log as this label saw it before."""
    evidence, seen = invitation.evidence, home.log_memory.newest(invitation.agreement.coordinator_key)
    try:
        home.log_memory.expect_same_log(evidence)
    except SplitView as error:
        return [error.message.rstrip(".")]
    if seen is not None and evidence.index < seen.index:  # the head says nothing: the coordinator signs the newest anew
        return ["the agreement is older than one that this label has seen"]
    return []


def pinned_agreement(home: LabelHome) -> Agreement | None:
    """The pinned agreement; None if there is none, or if it is of an earlier version and needs a new one.

    Raises:
        ConfigurationError: it is damaged.
    """
    try:
        return home.agreement() if home.agreement_file.exists() else None
    except OtherVersion:
        return None


def _pinned_coordinator(home: LabelHome) -> str | None:
    """The key (hex) of the coordinator whose agreement the label has accepted, in any version.

    Raises:
        ConfigurationError: it is damaged.
    """
    before = pinned_agreement(home)
    if before is None and home.agreement_file.exists():
        return str(tomllib.loads(home.agreement_file.read_text(encoding="utf-8")).get("coordinator_key"))
    return None if before is None else before.coordinator_key.hex()
