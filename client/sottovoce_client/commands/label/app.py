"""`sottovoce label …`: commands for a label's engineer. Each imports heavy modules only when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from sottovoce.commands.doctor import RepairOption
from sottovoce_client.commands.label import membership
from sottovoce_client.commands.label.options import FederationArgument, HomeOption, JsonOption, PassphraseOption

label = typer.Typer(
    no_args_is_help=True, help="Run a label: home, catalogues, policy, ledger, and taking part in a federation."
)


@label.callback()
def _group() -> None:
    """Run a label: home, catalogues, policy, ledger, and taking part in a federation."""


INIT = """
Examples:

  sottovoce label init blue-note --federation isles

  sottovoce label init blue-note --federation isles --home /srv/sottovoce --encrypt --out enrolment.json
"""


@label.command(epilog=INIT)
def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The label's name: a-z, 0-9, '.', '_' and '-'.")],
    home: HomeOption = None,
    federation: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the federation to enrol in. Without it, no enrolment is written: see `label enrol`.",
            show_default=False,
        ),
    ] = None,
    encrypt: Annotated[
        bool,
        typer.Option(
            "--encrypt",
            help="Encrypt the private keys; prompts for a passphrase unless a file or the environment gives one.",
        ),
    ] = False,
    passphrase_file: PassphraseOption = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Path for enrolment.json. Default: in the home.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Create a label's home: keys, a policy with safe defaults, an empty ledger.

    Nothing is overwritten. Send the public part, enrolment.json, to the coordinator; it contains no secret.
    """
    from sottovoce_client.commands.label.init import make_home

    make_home(
        name,
        home,
        federation=federation,
        encrypt=encrypt,
        passphrase_file=passphrase_file,
        out=out,
        as_json=as_json,
    )


label.command(epilog=membership.ENROL)(membership.enrol)


CATALOGUE = """
Examples:

  sottovoce label catalogue ~/music /srv/archive

  sottovoce label catalogue     scan the registered folders again

  sottovoce label catalogue --declare     and declare the approximate number of tracks in the policy
"""


@label.command(epilog=CATALOGUE)
def catalogue(
    directories: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DIR]…", help="Folders laid out as STYLE/…/track, or with a catalogue.csv.", show_default=False
        ),
    ] = None,
    home: HomeOption = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Files read in parallel. Default: one per core.", show_default=False)
    ] = None,
    declare: Annotated[
        bool,
        typer.Option(
            "--declare", help="Write the approximate numbers of tracks and artists to train on into the policy."
        ),
    ] = False,
    features: Annotated[bool, typer.Option(help="Compute features now, so that no run has to wait for them.")] = True,
    show_all: Annotated[bool, typer.Option("--all", help="List every file, not only the first few.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Register folders of audio, scan them, and compute the features of all usable tracks.

    Folders stay registered. Later scans open only changed files, and never a file that the policy allows for no
    purpose.

    Private runs need the approximate number of tracks (or artists) that the label trains on, since sampling rates and
    noise depend on it: --declare writes it into the policy, in two digits. It stays until you change it, which should
    be rare.
    """
    from sottovoce_client.commands.label.register_catalogue import register_and_scan

    register_and_scan(
        directories or [],
        home,
        workers=workers,
        declared=declare,
        features=features,
        show_all=show_all,
        as_json=as_json,
    )


CHECK = """
Examples:

  sottovoce label check federation.toml

  sottovoce label check federation.toml --json
"""


@label.command(epilog=CHECK)
def check(federation: FederationArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show what a federation may do here and what the policy forbids, without changing anything.

    The exit code is 2 if this label cannot take part.
    """
    from sottovoce_client.commands.label.check_federation import check_federation

    check_federation(federation, home, as_json=as_json)


label.command(epilog=membership.CONFIRM)(membership.confirm)
label.command(epilog=membership.CONFIRMATIONS)(membership.confirmations)


STATUS = """
Examples:

  sottovoce label status

  sottovoce label status --json
"""


@label.command(epilog=STATUS)
def status(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show which runs this label takes part in, what it declined, and what it has spent."""
    from sottovoce_client.commands.label.status import show_status

    show_status(home, as_json=as_json)


LEDGER = """
Examples:

  sottovoce label ledger

  sottovoce label ledger --csv > ledger.csv
"""


@label.command(epilog=LEDGER)
def ledger(
    home: HomeOption = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one line per run.")] = False,
) -> None:
    """Print what each run has spent, what was declined and why, and how much lifetime ε is left."""
    from sottovoce_client.commands.label.status import show_ledger

    show_ledger(home, as_json=as_json, as_csv=as_csv)


CLOSE = """
Examples:

  sottovoce label close 3f9a

  sottovoce label close 3f9a --yes
"""


@label.command(epilog=CLOSE)
def close(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id, or its first characters.")],
    home: HomeOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Close a run: free the ε that it reserved but never charged. What it charged stays spent.

    Use it for runs that the coordinator has abandoned. The label then ignores further messages of the run.
    """
    from sottovoce_client.commands.label.close import close_run

    close_run(run, home, yes=yes)


BACKUP = """
Examples:

  sottovoce label backup /mnt/copies/blue-note-2026-11-30.tar.gz

  sottovoce label backup keys-too.tar.gz --keys     with the private keys: keep it as safe as the home

  sottovoce label backup copy.tar.gz --json
"""


@label.command(epilog=BACKUP)
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The archive to write; it must not exist.")],
    home: HomeOption = None,
    keys: Annotated[bool, typer.Option("--keys", help="Include the label's private keys.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a backup of this home: ledger, held-out tracks, diary, policy and agreement, in one archive.

    It is consistent while the label runs. Features and runs under way are not in it: a restored run could answer
    twice. Private keys are in it with --keys only.
    """
    from sottovoce_client.commands.label.backup import back_up

    back_up(file, home, keys=keys, as_json=as_json)


RESTORE = """
Examples:

  sottovoce label restore blue-note-2026-11-30.tar.gz

  sottovoce label restore blue-note-2026-11-30.tar.gz --home /srv/sottovoce --json
"""


@label.command(epilog=RESTORE)
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An archive of `sottovoce label backup`.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a home from a backup, or what is missing or damaged in an existing one.

    A ledger that is older than what the home knows is refused. Runs that were open at the time of the backup, and have
    no state in the home, are charged in full.
    """
    from sottovoce_client.commands.label.backup import put_back

    put_back(file, home, as_json=as_json)


DOCTOR = """
Examples:

  sottovoce label doctor

  sottovoce label doctor --repair     cut lines, leftovers, stale promises, permissions

  sottovoce label doctor --json

Exit code: 0 nothing is wrong, 1 --repair repairs it, 7 a person must decide.
"""


@label.command(epilog=DOCTOR)
def doctor(home: HomeOption = None, repair: RepairOption = False, as_json: JsonOption = False) -> None:
    """Examine this home: what is wrong, and what is safe to do.

    Repairs are refused while `label join` runs.
    """
    from sottovoce_client.commands.label.doctor import examine_home

    examine_home(home, repair=repair, as_json=as_json)


JOIN = """
Examples:

  sottovoce label join federation.toml

  sottovoce label join federation.toml --home /srv/sottovoce --passphrase-file /run/secrets/label

  sottovoce label join     with the agreement that this home has joined before
"""


@label.command(epilog=JOIN)
def join(
    federation: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FEDERATION.TOML]",
            help="The signed agreement. Default: the one joined before.",
            show_default=False,
        ),
    ] = None,
    home: HomeOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Join a federation and answer its runs, within this label's policy, until Ctrl-C.

    The agreement is verified and pinned in the home. The connection to the coordinator uses
    TLS, is authenticated both ways, and is restored automatically after an interruption.
    """
    from sottovoce_client.commands.label.join import join_federation

    join_federation(federation, home, passphrase_file=passphrase_file)


COSIGN = """
Examples:

  sottovoce label cosign releases/styles
"""


@label.command(epilog=COSIGN)
def cosign(
    release: Annotated[Path, typer.Argument(metavar="RELEASE", help="The release's folder.")],
    home: HomeOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Co-sign a release if it agrees with this label's own records.

    A joined label co-signs automatically when the coordinator asks, unless its policy forbids it. A generator's or
    editor's release is signed only by this command, after the copy audit (`label audit`).
    """
    from sottovoce_client.commands.label.cosign import cosign_release

    cosign_release(release, home, passphrase_file=passphrase_file)


AUDIT = """
Examples:

  sottovoce label audit releases/music

  sottovoce label audit releases/music --matches     name the tracks, to you only

  sottovoce label audit releases/music --json
"""


@label.command(epilog=AUDIT)
def audit(
    release: Annotated[Path, typer.Argument(metavar="RELEASE", help="The folder of a generator's release.")],
    home: HomeOption = None,
    matches: Annotated[
        bool, typer.Option("--matches", help="Name the tracks that samples are too close to. Keep this output private.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Files read in parallel. Default: one per core.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Test whether a generator has memorised this label's music.

    Two tests compare new samples with every track that this label trains on. Nothing leaves the label. The exit code
    is 3 if something was copied.
    """
    from sottovoce_client.commands.label.audit import audit_release

    audit_release(release, home, workers=workers, matches=matches, as_json=as_json)
