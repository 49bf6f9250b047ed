"""`sottovoce release list`, `pull` and `publish`: releases in a registry."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from sottovoce.commands.output import counted, notes, print_json, results, say, shown
from sottovoce.commands.release_options import JsonOption, KeyOption, located
from sottovoce.errors import ConfigurationError, ReleaseError
from sottovoce.release.trusted_key import trusted_agreement, trusted_key, trusted_log

if TYPE_CHECKING:
    from sottovoce.release.registry_client import Progress, RegistryClient

VISIBILITIES = ("public", "token", "private")

TokenOption = Annotated[
    Path | None,
    typer.Option("--token-file", metavar="FILE", help="File with your access token.", show_default=False),
]
AuthorityOption = Annotated[
    Path | None,
    typer.Option(
        "--authority",
        metavar="FILE",
        help="Certificate (PEM) of the registry's certificate authority, if the system does not trust it.",
        show_default=False,
    ),
]
FromOption = Annotated[
    str,
    typer.Option(
        "--from", metavar="URL", help="The registry's URL, such as https://models.example.org.", show_default=False
    ),
]


def list_releases(
    source: FromOption, token_file: TokenOption = None, authority: AuthorityOption = None, as_json: JsonOption = False
) -> None:
    """List the models in a registry that you may see.

    This is only what the registry says: signatures are verified when a release is pulled.

    Examples:

      sottovoce release list --from https://models.example.org

      sottovoce release list --from http://127.0.0.1:8470 --json
    """
    from sottovoce.release.pull import listed

    with _client(source, token_file, authority) as client:
        found = listed(client)
    if as_json:
        print_json(
            [
                {"name": each.name, "visibility": each.visibility, "newest": each.newest, "versions": each.versions}
                for each in found
            ]
        )
        return
    if not found:
        say(notes(), "Note", "no models, or none that you have access to: pass your token with --token-file.", "yellow")
        return
    table = Table("model", "newest", "versions", "visibility", box=None, pad_edge=False, header_style="bold")
    for each in found:
        table.add_row(*map(Text, (each.name, each.newest or "withdrawn", str(len(each.versions)), each.visibility)))
    results().print(table)


def pull(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME[@VERSION]", help="The release; without a version, the newest.", show_default=False
        ),
    ],
    source: FromOption,
    key: Annotated[
        str,
        typer.Option(
            "--key",
            metavar="KEY",
            help="The coordinator's key that you trust: 64 hexadecimal digits, a file that holds them, "
            "or the federation's agreement.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="DIR", help="Folder to write; it appears complete or not at all.", show_default=False
        ),
    ],
    token_file: TokenOption = None,
    authority: AuthorityOption = None,
    as_json: JsonOption = False,
) -> None:
    """Download a release and verify it against the coordinator's key.

    Nothing can be used before everything is verified. Run the command again to resume an interrupted download. A
    release is refused if it is older than one you have seen, if its version's content changed, or if it is not in its
    coordinator's log as you have seen it.

    Examples:

      sottovoce release pull isles-style-svm --from https://models.example.org --key federation.toml --out model

      sottovoce release pull isles-style-svm@20250131T120000Z --from http://127.0.0.1:8470 --key key --out model
    """
    from sottovoce.release.logged import default_memory, remember_agreement
    from sottovoce.release.pull import pull as download
    from sottovoce.release.seen_versions import Seen
    from sottovoce.release.versions import Reference

    wanted, pinned = Reference.parse(name), trusted_key(key)
    if pinned is None:
        raise ConfigurationError("No key given.")
    with _client(source, token_file, authority) as client, _progress("Downloading") as progress:
        try:
            memory = default_memory()
            remember_agreement(trusted_log(key), memory)
            pulled = download(
                client,
                wanted,
                pinned,
                out,
                seen=Seen.default(),
                memory=memory,
                agreement=trusted_agreement(key),
                progress=progress,
            )
        except ReleaseError as error:
            raise located(error, out) from None
    signers = [each.name for each in pulled.checked.signatures[1:]]
    if as_json:
        print_json(
            {
                "name": pulled.reference.name,
                "version": pulled.reference.version,
                "folder": str(out),
                "already": pulled.already,
                "verified": True,
                "cosigned_by": signers,
                "logged": pulled.logged is not None,
            }
        )
        return
    what = "is already present" if pulled.already else f"is in {shown(out)}"
    results().print(Text(f"{pulled.reference} {what}, signed with the key that you trust."), soft_wrap=True)
    if signers:
        results().print(Text(f"It is co-signed by {', '.join(signers)}."), soft_wrap=True)
    if pulled.logged:
        results().print(Text(pulled.logged), soft_wrap=True)


def publish(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The release's folder.", show_default=False)],
    target: Annotated[str, typer.Option("--to", metavar="URL", help="The registry's URL.", show_default=False)],
    token_file: TokenOption = None,
    key: KeyOption = None,
    visibility: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL", help="Who may see the model from now on: public, token or private.", show_default=False
        ),
    ] = None,
    authority: AuthorityOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish a release in a registry, permanently: a published version never changes.

    A new model is private unless --visibility says otherwise. If the release is already published, only signatures that
    labels have added since are sent.

    Examples:

      sottovoce release publish run/release --to https://models.example.org --token-file publish.token

      sottovoce release publish run/release --to http://127.0.0.1:8470 --token-file publish.token --visibility public
    """
    from sottovoce.release.publish import publish as send

    if visibility is not None and visibility not in VISIBILITIES:
        raise ConfigurationError(f"Unknown visibility '{shown(visibility)}'.", hint=", ".join(VISIBILITIES) + ".")
    with _client(target, token_file, authority) as client, _progress("Uploading") as progress:
        try:
            done = send(client, directory, trusted_key(key), visibility=visibility, progress=progress)
        except ReleaseError as error:
            raise located(error, directory) from None
    if as_json:
        print_json(
            {
                "name": done.reference.name,
                "version": done.reference.version,
                "new": done.new,
                "signatures_added": done.signatures,
            }
        )
    elif done.new:
        results().print(Text(f"Published as {done.reference}."))
    else:
        added = counted(done.signatures, "signature")
        results().print(Text(f"{done.reference} is already published; {added} added."))


def _client(url: str, token_file: Path | None, authority: Path | None) -> "RegistryClient":
    from sottovoce.release.registry_client import RegistryClient, read_token

    return RegistryClient(url, None if token_file is None else read_token(token_file), authority=authority)


@contextmanager
def _progress(what: str) -> Iterator["Progress"]:
    """A progress bar for each file on a terminal; silent elsewhere."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=notes(), transient=True) as bars:
        tasks = {}

        def show(file: str, done: int, size: int) -> None:
            if file not in tasks:
                tasks[file] = bars.add_task(f"{what} {file}", total=size)
            bars.update(tasks[file], completed=done)

        yield show
