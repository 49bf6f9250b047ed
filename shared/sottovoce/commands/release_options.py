"""Options that commands for releases share: which release, and whose key is trusted."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sottovoce.commands.output import notes, say, shown
from sottovoce.errors import ReleaseError
from sottovoce.release.trusted_key import trusted_agreement, trusted_key

if TYPE_CHECKING:
    from sottovoce.release.load import Release


ReleaseOption = Annotated[Path, typer.Option("--release", metavar="DIR", help="The release's folder.")]
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


def opened(directory: Path, key: str | None, task: str = "style") -> "Release":
    """Verify and load a release of a task; warn about what a person should know before relying on it."""
    from sottovoce.release.load import load

    try:
        release = load(directory, trusted_key(key), agreement=trusted_agreement(key))
        release.expect_task(task)
    except ReleaseError as error:
        raise located(error, directory) from None
    if not release.vouched:
        say(notes(), "Note", "the release's key is not confirmed: pass the one you trust with --key.", "yellow")
    return release


def located(error: ReleaseError, directory: Path) -> ReleaseError:
    """The same error with the release's path in front, which library code never includes."""
    return ReleaseError(f"{shown(directory)}: {error.message}", hint=error.hint)
