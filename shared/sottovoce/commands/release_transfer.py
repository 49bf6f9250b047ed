"""`sottovoce release list`, `pull` and `publish`: releases at a registry."""

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
    typer.Option("--token-file", metavar="FILE", help="A file that holds your access token.", show_default=False),
]
AuthorityOption = Annotated[
    Path | None,
    typer.Option(
        "--authority",
        metavar="FILE",
        help="The certificate (PEM) of the authority that made the registry's, if the system does not know it.",
        show_default=False,
    ),
]
FromOption = Annotated[
    str,
    typer.Option("--from", metavar="URL", help="The registry, such as https://models.example.org.", show_default=False),
]


def list_releases(
    source: FromOption, token_file: TokenOption = None, authority: AuthorityOption = None, as_json: JsonOption = False
) -> None:
    """List the models of a registry that you may see.

    This is the registry's own word: signatures are checked when a release is pulled.

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
        say(notes(), "Note", "there is no model, or none that you may see: --token-file shows who you are.", "yellow")
        return
    table = Table("model", "newest", "versions", "visibility", box=None, pad_edge=False, header_style="bold")
    for each in found:
        table.add_row(*map(Text, (each.name, each.newest or "withdrawn", str(len(each.versions)), each.visibility)))
    results().print(table)


def pull(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME[@VERSION]", help="Which; without a version the newest.", show_default=False),
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
        typer.Option("--out", metavar="DIR", help="The release's folder, which appears whole.", show_default=False),
    ],
    token_file: TokenOption = None,
    authority: AuthorityOption = None,
    as_json: JsonOption = False,
) -> None:
    """Download a release and check it against the coordinator's key.

    Nothing is usable before all of it was checked. A download that broke goes on where it was when you run the command
    again. A release that is older than one that you have seen, other than it was, or not in the log of its coordinator
    as you have seen it, is refused.

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
        raise ConfigurationError("A key is needed.")
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
    what = "was there already" if pulled.already else f"is in {shown(out)}"
    results().print(Text(f"{pulled.reference} {what}, signed with the key that you trust."), soft_wrap=True)
    if signers:
        results().print(Text(f"It is co-signed by {', '.join(signers)}."), soft_wrap=True)
    if pulled.logged:
        results().print(Text(pulled.logged), soft_wrap=True)


def publish(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The release: a folder.", show_default=False)],
    target: Annotated[str, typer.Option("--to", metavar="URL", help="The registry.", show_default=False)],
    token_file: TokenOption = None,
    key: KeyOption = None,
    visibility: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL", help="Who may see the model from now on: public, token, private.", show_default=False
        ),
    ] = None,
    authority: AuthorityOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish a release to a registry, for good: a published version never changes.

    A new model is private unless --visibility says more. Of a release that is published already, the signatures that
    labels added since are sent.

    Examples:

      sottovoce release publish run/release --to https://models.example.org --token-file publish.token

      sottovoce release publish run/release --to http://127.0.0.1:8470 --token-file publish.token --visibility public
    """
    from sottovoce.release.publish import publish as send

    if visibility is not None and visibility not in VISIBILITIES:
        raise ConfigurationError(f"There is no visibility '{shown(visibility)}'.", hint=", ".join(VISIBILITIES) + ".")
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
        results().print(Text(f"{done.reference} was published already; {added} added."))


def _client(url: str, token_file: Path | None, authority: Path | None) -> "RegistryClient":
    from sottovoce.release.registry_client import RegistryClient, read_token

    return RegistryClient(url, None if token_file is None else read_token(token_file), authority=authority)


@contextmanager
def _progress(what: str) -> Iterator["Progress"]:
    """A bar for each file while a person looks, and nothing where nobody does."""
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
