"""`sottovoce label confirm` and `… confirmations`: confirm that other labels are real."""

import os
from pathlib import Path

import typer

from sottovoce.commands.output import counted, notes, results, say, shown
from sottovoce.errors import ConfigurationError, PrivacyError
from sottovoce.federation.agreement import Agreement, Member
from sottovoce.federation.confirmation import Withdrawal, merged, read_confirmations, standing, write_confirmations
from sottovoce.federation.fingerprint import as_hex, as_words, fingerprint, from_hex, from_words
from sottovoce.federation.invitation import read_agreement
from sottovoce_client.commands.label.common import opened, unlock
from sottovoce_client.home.confirmations import (
    confirm,
    confirmed_by,
    keep_confirmations,
    kept_confirmations,
    withdraw,
    withdrawn,
)
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.policy import Policy


def confirm_label(
    name: str,
    file: Path | None,
    home: Path | None,
    *,
    words: str | None,
    hexadecimal: str | None,
    passphrase_file: Path | None,
) -> None:
    """Compare a member's fingerprint, and counter-sign it if it matches.

    Raises:
        ConfigurationError: there is no such member, or nobody can be asked.
        PrivacyError: the fingerprints differ.
    """
    label = opened(home)
    agreement = read_agreement(file) if file else label.agreement()
    member = _member(agreement, name, label)
    if withdrawn(label, member):
        raise ConfigurationError(
            f"You have withdrawn the confirmation of '{name}' with this key, which is permanent.",
            hint="That label needs a new key: `sottovoce label init` in a new home, and a new enrolment.",
        )
    value = fingerprint(member.name, member.public_key)
    if words is not None and hexadecimal is not None:
        raise ConfigurationError("Use either --words or --fingerprint.")
    if words is not None:
        same = from_words(words) == value
    elif hexadecimal is not None:
        same = from_hex(hexadecimal) == value
    else:
        same = _asked(name, value)
    if not same:
        raise PrivacyError(
            f"This is not the fingerprint of '{name}' in the agreement: {as_words(value)}.",
            hint="Somebody else may be taking part under its name. Do not join until you both know why.",
        )
    unlock(label, passphrase_file)
    confirm(label, label.identity(), agreement.federation, [member])
    confirmed, needed = confirmed_by(label, agreement), _needed(label, agreement)
    results().print(f"Confirmed '{name}'. {len(confirmed)} of the other labels are confirmed; {needed} must be.")
    say(notes(), "Next", "sottovoce label confirmations --out FILE writes it for the others.", "bold cyan")


def withdraw_label(name: str, file: Path | None, home: Path | None, *, yes: bool, passphrase_file: Path | None) -> None:
    """Withdraw the confirmation of a label: of its key in the agreement, and of each key that was confirmed.

    Raises:
        ConfigurationError: there is no such label, or no confirmation to withdraw.
    """
    label = opened(home)
    agreement = read_agreement(file) if file else label.agreement()
    found = {each for each in agreement.members if each.name == name and name != label.name}
    kept = [each for each in kept_confirmations(label) if each.federation == agreement.federation]
    found |= {
        Member(each.name, each.public_key) for each in standing(kept) if (each.by, each.name) == (label.name, name)
    }
    new = [member for member in found if not withdrawn(label, member)]
    if not new:
        raise ConfigurationError(
            f"There is no confirmation of '{name}' to withdraw.", hint="sottovoce label confirmations lists them."
        )
    if not yes:
        typer.confirm(
            f"Withdraw the confirmation of '{name}'? Its key cannot be confirmed again.", abort=True, err=True
        )
    unlock(label, passphrase_file)
    withdraw(label, label.identity(), agreement.federation, new)
    confirmed, needed = confirmed_by(label, agreement), _needed(label, agreement)
    results().print(f"Withdrawn: '{name}'. {len(confirmed)} of the other labels are confirmed; {needed} must be.")
    if len(confirmed) < needed:
        say(notes(), "Note", "this label takes part in no run of all members until more are confirmed.", "bold yellow")
    say(
        notes(),
        "Next",
        "tell the others: sottovoce label confirmations --out FILE writes it for them and for the coordinator.",
        "bold cyan",
    )


def exchange_confirmations(files: list[Path], home: Path | None, *, out: Path | None) -> None:
    """Import others' counter-signatures, and export this label's own.

    Raises:
        ConfigurationError: a file or the home cannot be read, or a signature does not verify.
    """
    label = opened(home)
    taken = merged(*(read_confirmations(file) for file in files))
    if taken:
        keep_confirmations(label, taken)
        results().print(f"Imported {counted(len(taken), 'confirmation')}.")
    kept = kept_confirmations(label)
    own = [each for each in kept if each.by == label.name]
    if out is not None:
        write_confirmations(out, own)
        results().print(f"{counted(len(own), 'confirmation')} by this label: {shown(out)}", soft_wrap=True)
    elif not files:
        for each in kept:
            did = "withdrew" if isinstance(each, Withdrawal) else "confirmed"
            results().print(f"{each.by} {did} {each.name} for '{each.federation}'", markup=False, soft_wrap=True)


def _member(agreement: Agreement, name: str, label: LabelHome) -> Member:
    if name == label.name:
        raise ConfigurationError("A label cannot confirm itself.", hint="Other labels do: read them your fingerprint.")
    found = next((member for member in agreement.members if member.name == name), None)
    if found is None:
        names = ", ".join(member.name for member in agreement.members)
        raise ConfigurationError(f"The agreement has no label '{name}'.", hint=f"It names {names}.")
    return found


def _needed(label: LabelHome, agreement: Agreement) -> int:
    return Policy.from_toml(label.policy_file).confirmed_of(len(agreement.members))


def _asked(name: str, value: bytes) -> bool:
    if not os.isatty(0):
        raise ConfigurationError(
            "The fingerprint must be compared, but this is not a terminal.",
            hint="Pass what that label's people read out with --words or --fingerprint.",
        )
    results().print(f"In the agreement, '{name}' has the fingerprint", markup=False)
    results().print(f"  {as_words(value)}", soft_wrap=True)
    results().print(f"  {as_hex(value)}", soft_wrap=True)
    say(notes(), "Compare", f"Call the people of '{name}' on a number that you know from elsewhere.", "bold cyan")
    return typer.confirm("Do they read out the same words?", default=False, err=True)
