"""`sottovoce label enrol`, `… confirm` and `… confirmations`: become a member, and confirm other members."""

from pathlib import Path
from typing import Annotated

import typer

from sottovoce_client.commands.label.options import HomeOption, PassphraseOption

ENROL = """
Examples:

  sottovoce label enrol isles --out enrolment.json
"""


def enrol(
    federation: Annotated[str, typer.Argument(metavar="FEDERATION", help="The federation's name.")],
    home: HomeOption = None,
    passphrase_file: PassphraseOption = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Output file. Default: enrolment.json in the home.", show_default=False),
    ] = None,
) -> None:
    """Write this label's signed enrolment for a federation's coordinator.

    It binds the label's name and public keys to that federation, and contains no secret.
    """
    from sottovoce_client.commands.label.init import write_enrolment

    write_enrolment(federation, home, passphrase_file=passphrase_file, out=out)


CONFIRM = """
Examples:

  sottovoce label confirm verve federation.toml

  sottovoce label confirm verve --words "amount liar … bird"

  sottovoce label confirm verve --withdraw     withdraw it permanently
"""


def confirm(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The other label.")],
    federation: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FEDERATION.TOML]",
            help="The signed agreement. Default: the one joined before.",
            show_default=False,
        ),
    ] = None,
    words: Annotated[
        str | None, typer.Option(help="The twelve words that the other label's people read out.", show_default=False)
    ] = None,
    hexadecimal: Annotated[
        str | None,
        typer.Option("--fingerprint", help="The fingerprint in hexadecimal digits instead.", show_default=False),
    ] = None,
    take_back: Annotated[
        bool,
        typer.Option(
            "--withdraw", help="Withdraw the confirmation: that key is never accepted again, even if others confirm it."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --withdraw: skip the question.")] = False,
    home: HomeOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Confirm that another label is real, after comparing its fingerprint with its people.

    Call them on a number that you did not get from the coordinator, and let them read the words that their own `label
    check` or `label status` shows. The exit code is 3 if the fingerprints differ.

    A withdrawal takes effect with the next message: this label leaves runs with too few confirmed labels. It is
    permanent; that label needs a new key to be confirmed again.
    """
    from sottovoce_client.commands.label.confirm import confirm_label, withdraw_label

    if take_back:
        withdraw_label(name, federation, home, yes=yes, passphrase_file=passphrase_file)
        return
    confirm_label(name, federation, home, words=words, hexadecimal=hexadecimal, passphrase_file=passphrase_file)


CONFIRMATIONS = """
Examples:

  sottovoce label confirmations --out ours.json     for the other labels, or for the coordinator to distribute

  sottovoce label confirmations theirs.json
"""


def confirmations(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]…", help="Confirmations of other labels to import.", show_default=False),
    ] = None,
    home: HomeOption = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write this label's own confirmations here.", show_default=False)
    ] = None,
) -> None:
    """Import and export counter-signatures.

    Each is verified against its signer's key. Only those by labels that you have confirmed yourself count.
    """
    from sottovoce_client.commands.label.confirm import exchange_confirmations

    exchange_confirmations(files or [], home, out=out)
