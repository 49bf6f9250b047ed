"""`sottovoce label check`: what a federation would be allowed to do here, in words, before joining."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from sottovoce.commands.output import counted, notes, print_json, results, say, shown
from sottovoce.errors import CatalogueError, ConfigurationError, UserError
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.changes import changes
from sottovoce.federation.confirmation import standing
from sottovoce.federation.fingerprint import as_hex, as_words, fingerprint
from sottovoce.federation.invitation import Invitation
from sottovoce.run.configuration import Trust, Unit
from sottovoce_client.budget.account import Account, account_of
from sottovoce_client.catalogue import Purpose
from sottovoce_client.commands.label.common import bar, opened
from sottovoce_client.home.confirmations import confirmed_by, kept_confirmations, withdrawn
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.pinning import objections, pinned_agreement
from sottovoce_client.home.policy import Policy

_COVERS = {Unit.TRACK: "a track", Unit.ARTIST: "all tracks of an artist", Unit.LABEL: "everything of this label"}


@dataclass(frozen=True)
class Fellow:
    """A member of the agreement, as seen by this label.

    Args:
        name: the member's name.
        fingerprint: fingerprint of its name and key (16 bytes).
        status: who has confirmed it, in words.
        by: labels that confirmed it; empty if it does not count as real.
        knows_us: whether it has confirmed this label.
    """

    name: str
    fingerprint: bytes
    status: str
    by: tuple[str, ...]
    knows_us: bool


@dataclass(frozen=True)
class Findings:
    """Result of a check.

    Args:
        obstacles: why this label cannot take part; empty if it can.
        allowed: what a run may do here.
        forbidden: what no run may do.
        styles: number of usable tracks by purpose and style.
        epsilon: largest ε that one run could spend now.
        fellows: members of the agreement, including this label.
        needed: number of other labels that must be confirmed before all of them train together.
        changed: differences from the pinned agreement; None if no agreement is pinned.
    """

    obstacles: tuple[str, ...]
    allowed: tuple[str, ...]
    forbidden: tuple[str, ...]
    styles: dict[str, dict[str, int]]
    epsilon: float
    fellows: tuple[Fellow, ...]
    needed: int
    changed: tuple[str, ...] | None


def check_federation(file: Path, home: Path | None, *, as_json: bool) -> None:
    """Check an agreement and print the result.

    Raises:
        SottovoceError: the agreement, home, policy or ledger cannot be read.
        typer.Exit: this label cannot take part.
    """
    label = opened(home)
    try:
        invitation = Invitation.read(file)
    except UserError as error:
        raise type(error)(f"{shown(file)}: {error.message}", hint=error.hint) from None
    policy = Policy.from_toml(label.policy_file)
    findings = _findings(label, invitation, policy, account_of(label))
    if as_json:
        print_json(_plain(invitation.agreement, findings))
    else:
        _show(invitation.agreement, findings)
        head = invitation.evidence.head
        results().print(f"coordinator's log: size {head.size}, root {head.root.hex()}", soft_wrap=True)
    if findings.obstacles:
        raise typer.Exit(UserError.exit_code)


def _findings(label: LabelHome, invitation: Invitation, policy: Policy, account: Account) -> Findings:
    styles, empty = _styles(label, policy)
    found = objections(label, invitation, policy, identity_key=_identity_key(label))
    obstacles = [*found, *([empty] if empty else [])]
    epsilon = min(policy.epsilon_per_run, account.remaining)
    if epsilon == 0:
        obstacles.append("the lifetime ε is spent or reserved")
    if not policy.declared_tracks and policy.least_unit is Unit.TRACK and not policy.allow_non_private:
        obstacles.append(
            "the policy does not declare the number of tracks to train on (sottovoce label catalogue --declare)"
        )
    usable = sorted(policy.tasks & policy.purposes)
    if not usable or not policy.families:
        obstacles.append("the policy allows no task together with its purpose, or no family")
    trust = invitation.agreement.noise
    rests = "this label's own noise" if trust is Trust.LOCAL else "the noise of all labels, behind their masks"
    allowed = (
        f"train {' and '.join(usable) or 'nothing'} models ({', '.join(sorted(policy.families)) or 'no family'})",
        f"of up to {policy.largest_model:,} parameters, in up to {policy.most_rounds:,} rounds",
        f"with {policy.least_participants} or more labels in each round",
        f"spend up to ε = {epsilon:.3g} in one run, at δ = {policy.delta_max:g} or less, protected by {rests}",
        f"at {policy.hours} local time" if str(policy.hours) else "at any time of the day",
    )
    forbidden = [
        f"guarantees that cover less than {_COVERS[policy.least_unit]}",
        f"more than ε = {account.ceiling:g} over all runs ({account.committed:.3g} is spent or reserved)",
    ]
    unwanted = sorted(set(Purpose) - policy.purposes)
    if unwanted:
        forbidden.append(f"using tracks for {' or '.join(unwanted)}")
    if not policy.allow_non_private:
        forbidden.append("training without privacy")
    if policy.least_noise_multiplier:
        forbidden.append(f"noise below {policy.least_noise_multiplier:g} times what one unit can change")
    if Trust.DISTRIBUTED not in policy.trust:
        forbidden.append("guarantees that depend on other labels' noise")
    before = pinned_agreement(label)
    return Findings(
        tuple(obstacles),
        allowed,
        tuple(forbidden),
        styles,
        epsilon,
        fellows_of(label, invitation),
        policy.confirmed_of(len(invitation.agreement.members)),
        None if before is None else changes(before, invitation.agreement),
    )


def fellows_of(label: LabelHome, invitation: Invitation) -> tuple[Fellow, ...]:
    """All members of an agreement, with who has confirmed each.

    Raises:
        ConfigurationError: the home's confirmations are damaged.
    """
    agreement = invitation.agreement
    confirmed = confirmed_by(label, agreement, invitation.confirmations)
    kept = (*kept_confirmations(label), *invitation.confirmations)
    own = {each.by for each in standing(kept) if each.name == label.name and each.about(agreement)}
    found = []
    for member in agreement.members:
        by = tuple(sorted(confirmed.get(member.name, ())))
        status = "confirmed by " + ("you" if by == (label.name,) else ", ".join(by)) if by else "NOT CONFIRMED"
        status = "WITHDRAWN by you" if withdrawn(label, member) else status
        status = "this label: read its words to the others" if member.name == label.name else status
        value = fingerprint(member.name, member.public_key)
        found.append(Fellow(member.name, value, status, by, member.name in own))
    return tuple(found)


def _identity_key(label: LabelHome) -> bytes | None:
    """The label's public key, if available without a passphrase."""
    try:
        return label.identity().public_key
    except ConfigurationError:
        return None


def _styles(label: LabelHome, policy: Policy) -> tuple[dict[str, dict[str, int]], str | None]:
    """Usable tracks by purpose and style, and the problem if there are none."""
    from sottovoce_client.data.preparation import catalogues_of, tracks_for

    purposes = sorted(Purpose(name) for name in policy.purposes & set(Purpose))
    try:
        with bar("reading") as progress:
            catalogues = catalogues_of(label, purposes, progress=progress)
    except CatalogueError as error:
        return {}, error.message.rstrip(".").lower()
    found = {purpose.value: Counter(track.style for track in tracks_for(catalogues, purpose)) for purpose in purposes}
    return {purpose: dict(sorted(counts.items())) for purpose, counts in found.items()}, None


def _plain(agreement: Agreement, findings: Findings) -> dict[str, Any]:
    return {
        "federation": agreement.federation,
        "agreement": agreement.digest.hex(),
        "labels": [member.name for member in agreement.members],
        "members": [
            {
                "name": each.name,
                "words": as_words(each.fingerprint),
                "fingerprint": each.fingerprint.hex(),
                "confirmed_by": list(each.by),
                "has_confirmed_us": each.knows_us,
            }
            for each in findings.fellows
        ],
        "confirmed": sum(bool(each.by) for each in findings.fellows),
        "confirmed_needed": findings.needed,
        "changed": None if findings.changed is None else list(findings.changed),
        "can_take_part": not findings.obstacles,
        "obstacles": list(findings.obstacles),
        "allowed": list(findings.allowed),
        "forbidden": list(findings.forbidden),
        "tracks": findings.styles,
        "epsilon_of_one_run": findings.epsilon if findings.epsilon != float("inf") else "inf",
    }


def _show(agreement: Agreement, findings: Findings) -> None:
    console = results()
    console.print(Text(f"Federation '{agreement.federation}', {counted(len(agreement.members), 'label')}", "bold"))
    console.print(f"coordinator's key {agreement.coordinator_key.hex()}", soft_wrap=True)
    for line in findings.changed or ():
        console.print(Text(f"  changed since the pinned agreement: {line}", "bold yellow"))
    _show_members(findings)
    console.print("\nIts runs may, here:")
    for line in findings.allowed:
        console.print(Text(f"  • {line}"))
    console.print("\nYour policy forbids in any case:")
    for line in findings.forbidden:
        console.print(Text(f"  • {line}"))
    for purpose, counts in findings.styles.items():
        table = Table("style", title=f"\nTracks usable for '{purpose}'", title_justify="left", show_footer=True)
        table.add_column("tracks", justify="right", footer=f"{sum(counts.values()):,}")
        table.columns[0].footer = "all"
        for style, count in counts.items():
            table.add_row(Text(style), f"{count:,}")
        console.print(table)
    console.print("A run trains on tracks of its styles; some are held out for evaluation.")
    for obstacle in findings.obstacles:
        say(notes(), "Cannot take part", f"{obstacle}.", "bold red")


def _show_members(findings: Findings) -> None:
    console = results()
    confirmed = sum(bool(each.by) for each in findings.fellows)
    console.print(f"\nMembers ({confirmed} of the others are confirmed, {findings.needed} must be):")
    for each in findings.fellows:
        knows = "; has confirmed you" if each.knows_us else ""
        console.print(Text(f"  {each.name}: {each.status}{knows}"))
        console.print(Text(f"    {as_words(each.fingerprint)}"), soft_wrap=True)
        console.print(Text(f"    {as_hex(each.fingerprint)}"), soft_wrap=True)
