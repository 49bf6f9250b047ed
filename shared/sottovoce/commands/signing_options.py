"""Options of commands that write audio: the key that signs content credentials."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sottovoce.errors import ConfigurationError

if TYPE_CHECKING:
    from sottovoce.studio.provenance.signing_key import SigningKey

PASSPHRASE = "SOTTOVOCE_SIGNING_PASSPHRASE"  # noqa: S105 - the name of a variable

SigningKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--signing-key",
        metavar="PEM",
        help="Private key that signs the content credentials. Default: your own, created on first use. "
        f"If it is encrypted, {PASSPHRASE} holds its passphrase.",
    ),
]
SigningCertificateOption = Annotated[
    Path | None,
    typer.Option("--signing-cert", metavar="PEM", help="Its certificate, followed by its chain."),
]


def signing_key(key: Path | None, certificate: Path | None) -> "SigningKey":
    """The key that the two options name, or the user's own if neither is given.

    Raises:
        ConfigurationError: only one option is given, or the key cannot be used.
    """
    import os

    from sottovoce.studio.provenance.signing_key import SigningKey

    if key is None and certificate is None:
        return SigningKey.own()
    if key is None or certificate is None:
        raise ConfigurationError("--signing-key and --signing-cert go together.")
    return SigningKey.load(key, certificate, passphrase=os.environ.get(PASSPHRASE, "").encode() or None)
