"""What the commands share about releases: which one, and whose key is trusted."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sottovoce.commands.output import notes, say, shown
from sottovoce.errors import ConfigurationError, ReleaseError

if TYPE_CHECKING:
    from sottovoce.release.load import Release

KEY = re.compile(r"[0-9a-fA-F]{64}")
LARGEST_KEY_FILE = 1 << 22

ReleaseOption = Annotated[Path, typer.Option("--release", metavar="DIR", help="The release: a folder.")]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="KEY",
        help="The coordinator's key that you trust: 64 hexadecimal digits, a file that holds them, "
        "or the federation's agreement.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def trusted(key: str | None) -> bytes | None:
    """The key (32 bytes) that an option names, or None without one.

    Raises:
        ConfigurationError: it names none.
    """
    if key is None:
        return None
    if KEY.fullmatch(key):
        return bytes.fromhex(key)
    path = Path(key)
    if not path.is_file():
        raise ConfigurationError(
            f"'{shown(key)}' is neither a key nor a file that holds one.",
            hint="A key is 64 hexadecimal digits. Ask the coordinator for theirs: the release itself proves none.",
        )
    if path.suffix == ".toml":
        from sottovoce.federation.invitation import read_agreement

        return read_agreement(path).coordinator_key
    with path.open("rb") as file:
        text = file.read(LARGEST_KEY_FILE).decode(errors="replace").strip()
    if not KEY.fullmatch(text):
        raise ConfigurationError(
            f"The file '{shown(key)}' does not hold a key.",
            hint="It must hold 64 hexadecimal digits (a public key, never a private one), "
            "or be the federation's agreement, with a name that ends in .toml.",
        )
    return bytes.fromhex(text)


def opened(directory: Path, key: str | None, task: str = "style") -> "Release":
    """Check and load a release of a task; a warning says what a person should know before relying on it."""
    from sottovoce.release.load import load

    try:
        release = load(directory, trusted(key))
        release.expect_task(task)
    except ReleaseError as error:
        raise located(error, directory) from None
    if not release.vouched:
        say(notes(), "Note", "nobody vouched for the release's key: --key pins the one you trust.", "yellow")
    return release


def located(error: ReleaseError, directory: Path) -> ReleaseError:
    """The same error with the release's place in front, which library code never tells."""
    return ReleaseError(f"{shown(directory)}: {error.message}", hint=error.hint)
