"""`sottovoce label init` and `… enrol`: create a home, and the public part for the coordinator."""

import os
from pathlib import Path

import typer

from sottovoce.commands.output import notes, print_json, results, say, shown
from sottovoce.errors import ConfigurationError
from sottovoce.federation.enrolment import Enrolment
from sottovoce.federation.fingerprint import as_hex, as_words, fingerprint
from sottovoce_client.commands.label.common import given_passphrase, opened, unlock
from sottovoce_client.home.label_home import LabelHome, default_root
from sottovoce_client.home.node_key import NodeKey

ENROLMENT = "enrolment.json"


def make_home(
    name: str,
    home: Path | None,
    *,
    federation: str | None,
    encrypt: bool,
    passphrase_file: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Create the home and, if a federation is named, write its enrolment.

    Raises:
        ConfigurationError: the target exists, or the name or the passphrase cannot be used.
    """
    root = home or default_root()
    target = out or root / ENROLMENT
    if target.exists():
        raise ConfigurationError(f"{shown(target)} already exists and is not overwritten.")
    if out is not None and federation is None:
        raise ConfigurationError("An enrolment is for one federation.", hint="Name it with --federation.")
    passphrase = given_passphrase(passphrase_file)
    if encrypt and passphrase is None:
        passphrase = _asked()
    try:
        made = LabelHome.create(root, name=name, passphrase=passphrase)
    except ConfigurationError as error:
        raise ConfigurationError(f"{shown(root)}: {error.message}", hint=error.hint) from None
    from sottovoce.federation.identity import Identity

    identity = Identity.load(made.identity_file, passphrase=passphrase)
    node_key = NodeKey.load(made.node_key_file, passphrase=passphrase)
    enrolment = None
    if federation is not None:
        enrolment = Enrolment.sign(identity, name=name, node_key=node_key.public, federation=federation)
        enrolment.write(target)
    own = fingerprint(name, identity.public_key)
    if as_json:
        print_json(
            {
                "home": str(made.root),
                "enrolment": enrolment.to_json() if enrolment else None,
                "encrypted": passphrase is not None,
                "words": as_words(own),
                "fingerprint": own.hex(),
            }
        )
        return
    console = results()
    console.print(f"Created the home of '{name}': {shown(made.root)}", soft_wrap=True)
    console.print(f"  keys      {'encrypted with your passphrase' if passphrase else 'readable by you only'}")
    console.print("  policy    policy.toml: read it, and change it as needed")
    console.print("  ledger    empty; back it up, since a lost ledger cannot be replaced")
    console.print(f"Its fingerprint, which other labels compare: {as_words(own)}", soft_wrap=True)
    console.print(f"  {as_hex(own)}", soft_wrap=True)
    if enrolment is not None:
        console.print(f"For the coordinator: {shown(target)}", soft_wrap=True)
    else:
        say(notes(), "Next", "sottovoce label enrol FEDERATION writes the enrolment for a coordinator.", "bold cyan")
    say(notes(), "Next", "sottovoce label catalogue DIR registers the label's audio.", "bold cyan")


def write_enrolment(federation: str, home: Path | None, *, passphrase_file: Path | None, out: Path | None) -> None:
    """Write the enrolment of an existing home.

    Raises:
        ConfigurationError: the home or its keys cannot be opened, a name is invalid, or the output file exists.
    """
    label = opened(home)
    unlock(label, passphrase_file)
    target = out or label.root / ENROLMENT
    if out is not None and out.exists():
        raise ConfigurationError(f"{shown(out)} already exists and is not overwritten.")
    node_key = label.node_key().public
    Enrolment.sign(label.identity(), name=label.name, node_key=node_key, federation=federation).write(target)
    results().print(f"For the coordinator of '{federation}': {shown(target)}", soft_wrap=True)


def _asked() -> bytes:
    if not os.isatty(0):
        raise ConfigurationError(
            "A passphrase is needed, but this is not a terminal.",
            hint="Pass it with --passphrase-file or SOTTOVOCE_PASSPHRASE.",
        )
    answer: str = typer.prompt("Passphrase for the label's keys", hide_input=True, confirmation_prompt=True, err=True)
    return answer.encode()
