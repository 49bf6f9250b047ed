"""Options shared by several of the label's commands."""

from pathlib import Path
from typing import Annotated

import typer

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="DIR",
        help="The label's home. Default: SOTTOVOCE_HOME, else a folder in your user data.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")]
PassphraseOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        help="File, readable only by you, whose first line is the passphrase of the label's keys. "
        "Alternative: SOTTOVOCE_PASSPHRASE.",
        show_default=False,
    ),
]
FederationArgument = Annotated[Path, typer.Argument(metavar="FEDERATION.TOML", help="The signed agreement.")]
