"""`sottovoce release`: show and verify a release."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from sottovoce.commands import release_transfer
from sottovoce.commands.output import counted, notes, print_json, results, say, shown
from sottovoce.commands.release_options import JsonOption, KeyOption, located
from sottovoce.errors import ReleaseError, SplitView
from sottovoce.release.trusted_key import trusted_agreement, trusted_key, trusted_log

if TYPE_CHECKING:
    from sottovoce.release.check import Checked

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The release's folder.", show_default=False)]

release = typer.Typer(
    help="Show, verify, publish or download a model: what it is, who signed it, with what privacy.",
    epilog="Examples:\n\n  sottovoce release show run/release\n\n  sottovoce release verify run/release\n\n"
    "  sottovoce release pull isles-style-svm --from https://models.example.org --key federation.toml --out model",
    no_args_is_help=True,
)
release.command("list")(release_transfer.list_releases)
release.command("pull")(release_transfer.pull)
release.command("publish")(release_transfer.publish)


@release.command(epilog="Example:\n\n  sottovoce release show run/release")
def show(directory: Directory, key: KeyOption = None, as_json: JsonOption = False) -> None:
    """Show a release's manifest.

    Its signatures and digests are verified first."""
    from sottovoce.release.check import check

    try:
        checked = check(directory, trusted_key(key), agreement=trusted_agreement(key))
    except ReleaseError as error:
        raise located(error, directory) from None
    if as_json:
        print_json(_described(checked))
    else:
        _print_card(checked)


@release.command(
    epilog="Examples:\n\n  sottovoce release verify run/release\n\n"
    "  sottovoce release verify run/release --key federation.toml"
)
def verify(
    directory: Directory,
    key: KeyOption = None,
    log: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Proof that the release is in the coordinator's log. Default: log.json in its folder.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a release, and say in words what was checked.

    The exit code is 0 only if every check passes. Without --key this detects damage but not a forger, who would sign
    with another key. If --key is the agreement, co-signers must be its members and use their own keys.
    """
    from sottovoce.release.load import load
    from sottovoce.release.logged import check_logged, default_memory, evidence_of, remember_agreement
    from sottovoce.release.manifest import MANIFEST_FILE

    sentences: list[str] = []

    def passed(sentence: str) -> None:
        sentences.append(sentence)
        if not as_json:
            line = Table.grid(padding=(0, 1))
            line.add_row(Text("✓", "green"), Text(sentence))
            results().print(line)

    try:
        pinned = trusted_key(key)
        opened = load(directory, pinned, agreement=trusted_agreement(key), say=passed)
        if pinned is not None:
            raw, memory = (directory / MANIFEST_FILE).read_bytes(), default_memory()
            remember_agreement(trusted_log(key), memory)
            logged = check_logged(raw, pinned, evidence_of(directory, log), memory)
            if logged is not None:
                passed(logged)
    except (ReleaseError, SplitView) as error:
        if not as_json:
            raise type(error)(f"{shown(directory)}: {error.message}", hint=error.hint) from None
        print_json({"verified": False, "vouched": False, "checks": sentences, "error": error.message})
        raise typer.Exit(error.exit_code) from None
    if as_json:
        print_json(
            {
                "verified": True,
                "vouched": opened.vouched,
                "cosigned": None if opened.cosigned is None else vars(opened.cosigned),
                "checks": sentences,
            }
        )
    elif opened.vouched:
        results().print(Text("Verified, and signed with the key that you trust.", "bold green"))
    else:
        results().print(Text("Verified, but you did not say which key you trust.", "bold yellow"))
        say(notes(), "Hint", "Get the coordinator's key through another channel, and pass it with --key.", "bold cyan")


def _described(checked: "Checked") -> dict[str, Any]:
    import json

    signers = [
        {"role": each.role.value, "name": each.name, "public_key": each.public_key.hex()} for each in checked.signatures
    ]
    manifest = json.loads(checked.manifest.to_bytes())
    cosigned = None if checked.cosigned is None else vars(checked.cosigned)
    return {**manifest, "signatures": signers, "vouched": checked.vouched, "cosigned": cosigned}


def _print_card(checked: "Checked") -> None:
    from sottovoce.release.words import privacy_in_words, start_in_words

    manifest = checked.manifest
    coordinator = checked.signatures[0]
    spec = manifest.features
    card = Table.grid(padding=(0, 2))
    card.add_column(style="bold", no_wrap=True)
    card.add_column()
    rows = [
        ("Model", f"{manifest.task}, family {manifest.family}, {manifest.parameters:,} parameters"),
        ("Classes", ", ".join(manifest.classes)),
        ("Trained by", f"{counted(manifest.labels, 'label')} in {counted(manifest.rounds, 'round')}"),
        ("Started from", start_in_words(manifest)),
        *[("Privacy" if number == 0 else "", line) for number, line in enumerate(privacy_in_words(manifest.privacy))],
        ("Features", f"segments of {spec.segment_seconds:g} s at {spec.sample_rate:,} Hz, {spec.n_mels} mel bands"),
        ("Created", manifest.created.replace("T", " ").replace("Z", " UTC")),
        ("Signed by", f"coordinator of {coordinator.name}"),
        ("", coordinator.public_key.hex()),
        ("", "the key that you trust" if checked.vouched else "not confirmed (see --key)"),
        *[row for each in checked.signatures[1:] for row in (("", f"label {each.name}"), ("", each.public_key.hex()))],
        ("Agreement", manifest.agreement),
        ("Run", manifest.run),
        ("Configuration", manifest.configuration),
        ("Software", ", ".join(f"{name} {version}" for name, version in manifest.software.items())),
    ]
    for name, value in rows:
        card.add_row(name, Text(value))
    results().print(Text(manifest.name, "bold"))
    results().print(card)
