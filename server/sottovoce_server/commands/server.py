"""`sottovoce server`: the coordinator's commands. Heavy imports are inside the functions."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sottovoce.commands.declared_options import takes
from sottovoce.commands.doctor import RepairOption, diagnose
from sottovoce.commands.output import counted, notes, print_json, results, say
from sottovoce.run.request import RunRequest

if TYPE_CHECKING:
    from sottovoce_server.home.coordinator_home import ServerHome

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", help="The coordinator's home. Default: $SOTTOVOCE_SERVER_HOME, else the user's data folder."
    ),
]
AGREED = ("ring_bits", "min_honest", "sample_rate", "clip_quantile", "min_separation", "bands", "seed")
"""Settings of a run that the agreement or the family decides, not the coordinator."""
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

server = typer.Typer(
    help="Run a federation: enrol labels, train a model with them, publish it.",
    epilog="Examples:\n\n  sottovoce server init isles --address isles.example:9092\n\n"
    "  sottovoce server enrol enrolment.json\n\n  sottovoce server sign\n\n  sottovoce server start\n\n"
    "  sottovoce server train --classes blues,waltz",
    no_args_is_help=True,
)
journal = typer.Typer(
    help="Show what the coordinator did, and check that the journal was not edited.",
    epilog="Examples:\n\n  sottovoce server journal show\n\n  sottovoce server journal verify",
    no_args_is_help=True,
)
server.add_typer(journal, name="journal")


def _home(given: Path | None) -> "ServerHome":
    from sottovoce_server.home.coordinator_home import ServerHome, default_root

    return ServerHome.open(given or default_root())


@server.command(epilog="Example:\n\n  sottovoce server init isles --address isles.example:9092")
def init(
    federation: Annotated[str, typer.Argument(help="The federation's name.", show_default=False)],
    address: Annotated[str, typer.Option(help="HOST:PORT at which labels reach this machine.", show_default=False)],
    home: HomeOption = None,
) -> None:
    """Create a coordinator's home.

    It contains a signing key, a certificate authority, and a federation.toml to edit. Existing files are never
    overwritten.
    """
    from sottovoce_server.home.coordinator_home import ServerHome, default_root

    made = ServerHome.create(home or default_root(), federation=federation, address=address)
    results().print(f"Created the coordinator's home: {made.root}", soft_wrap=True)
    results().print(f"Its public key, for labels to compare: {made.identity().public_key.hex()}", soft_wrap=True)
    say(notes(), "Next", f"Edit {made.settings_file}, enrol the labels, then sign.", "bold cyan")


@server.command(epilog="Example:\n\n  sottovoce server enrol enrolment.json")
def enrol(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Enrolment files from labels.", show_default=False)
    ],
    home: HomeOption = None,
) -> None:
    """Enrol labels in the federation.

    Each label sends the enrolment.json that `sottovoce label init` wrote. They become members at the next `sign`.
    """
    from sottovoce.federation.enrolment import Enrolment
    from sottovoce.federation.fingerprint import as_hex, as_words, fingerprint

    opened = _home(home)
    for enrolment in [Enrolment.read(file) for file in files]:
        new = opened.enrol(enrolment)
        results().print(f"{enrolment.name}: {'enrolled' if new else 'was already enrolled'}.")
        value = fingerprint(enrolment.name, enrolment.identity_key)
        results().print(f"  Fingerprint, to compare with the label: {as_words(value)}", soft_wrap=True)
        results().print(f"  {as_hex(value)}", soft_wrap=True)
    say(notes(), "Next", "When all labels are enrolled: sottovoce server sign", "bold cyan")


@server.command(epilog="Example:\n\n  sottovoce server confirmations blue-note.json verve.json")
def confirmations(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Confirmation files from labels.", show_default=False)
    ],
    home: HomeOption = None,
) -> None:
    """Import labels' counter-signatures of one another, for distribution.

    They are distributed with the next signed agreement; every label verifies each of them itself.
    """
    from sottovoce.federation.confirmation import read_confirmations

    opened = _home(home)
    for file in files:
        taken = read_confirmations(file)
        opened.take_confirmations(taken)
        results().print(f"Imported {counted(len(taken), 'confirmation')}.")
    say(notes(), "Next", "sottovoce server sign", "bold cyan")


@server.command(epilog="Example:\n\n  sottovoce server sign")
def sign(home: HomeOption = None) -> None:
    """Sign the agreement for all enrolled labels.

    Send the signed file to every label through a channel that you both trust.
    """
    opened = _home(home)
    agreement = opened.sign().agreement
    results().print(f"Signed for {counted(len(agreement.members), 'label')}: {opened.invitation_file}", soft_wrap=True)
    results().print(f"Its digest: {agreement.digest.hex()}", soft_wrap=True)


@server.command(
    epilog="Examples:\n\n  sottovoce server start\n\n  sottovoce server start --host 127.0.0.1 --port 9093\n\n"
    "  sottovoce server start --no-resume"
)
def start(
    home: HomeOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on. Default: all addresses.")] = "0.0.0.0",  # noqa: S104
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65_535,
            help="Port to listen on, if a proxy forwards the agreement's. Default: the agreement's.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Resume runs that were under way when the server stopped.")
    ] = True,
) -> None:
    """Run Flower's SuperLink until it is stopped (Ctrl-C).

    Uses TLS and accepts only the nodes of the agreement's labels. Its state is on disk, so it can be restarted: runs
    that were under way are resumed, those that failed are not.
    """
    from sottovoce_server.flower.resuming import resuming
    from sottovoce_server.flower.superlink import serve

    opened = _home(home)
    say(notes(), "SuperLink", f"listening for labels at {opened.invitation().superlink}; Ctrl-C stops it", "bold")
    serve(opened, host=host, port=port, beside=resuming(opened, _say_run) if resume else None)


def _say_run(run: str, what: str) -> None:
    say(notes(), f"Run {run}", what, "bold")


@server.command(
    epilog="Examples:\n\n  sottovoce server train --classes blues,chorale,techno\n\n"
    "  sottovoce server train --classes blues,techno --family cnn --rounds 30 --epsilon 4\n\n"
    "  sottovoce server train --resume 3fa1"
)
@takes(RunRequest, without=AGREED)
def train(
    request: RunRequest,
    classes: Annotated[str, typer.Option(help="The agreed styles, separated by commas.")] = "",
    name: Annotated[str | None, typer.Option(help="Name of the release.")] = None,
    patience: Annotated[float, typer.Option(min=0, help="Seconds to wait for labels to connect.")] = 300.0,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for a label's answer.")] = 3600.0,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Resume an interrupted run.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Submit the run without waiting for its end.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model with the connected labels.

    The agreement determines whether noise is local or distributed. The signed release is written to the run's folder.
    """
    from sottovoce.models.initialisation import resolved_init
    from sottovoce_server.flower.control import connected
    from sottovoce_server.home.runs import RunFolder
    from sottovoce_server.rounds.submission import follow, ordered, resumed, submit

    opened = _home(home)
    with connected(opened) as control:
        if resume is not None:
            folder = resumed(opened, control, resume, patience=patience, timeout=timeout)
        else:
            order = ordered(
                opened.invitation().agreement,
                classes=classes,
                name=name,
                patience=patience,
                timeout=timeout,
                request=replace(request, init=resolved_init(request.init)),
            )
            control.runs()  # check that the SuperLink responds before writing anything
            folder = RunFolder.create(opened, order)
        number = submit(folder, control)
        say(notes(), "Run", folder.run, "bold")
        if detach:
            if as_json:
                print_json({"run": folder.run})
            return
        figures = follow(folder, control, number)
    if as_json:
        print_json(figures)
    else:
        results().print(f"Release: {figures['release']}", soft_wrap=True)


@server.command(epilog="Example:\n\n  sottovoce server runs")
def runs(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List this coordinator's runs, newest first, with the latest figures of each.

    ± is followed by the standard deviation that the labels' privacy noise leaves on a figure.
    """
    from rich import box
    from rich.table import Table

    from sottovoce.run.metrics import shown
    from sottovoce_server.rounds.listing import listed_runs

    listed = listed_runs(_home(home))
    if as_json:
        print_json(listed)
        return
    table = Table("run", "model", "rounds", "state", "figures", box=box.SIMPLE_HEAD)
    for each in listed:
        model, rounds = f"{each['task']} {each['family']}", f"{each['done']} of {each['rounds']}"
        last = ", ".join(f"{name} {value}" for name, value in shown(each["figures"] or {}).items())
        table.add_row(str(each["run"])[:8], model, rounds, str(each["state"]), last)
    results().print(table if listed else "There are no runs yet.")


@server.command(epilog="Example:\n\n  sottovoce server stop 3fa1")
def stop(
    run: Annotated[str, typer.Argument(help="The run's id, or its first characters.", show_default=False)],
    home: HomeOption = None,
) -> None:
    """Stop a run. Its checkpoint is kept, so `train --resume` can continue it; `server end` ends it for good."""
    from sottovoce.errors import ConfigurationError
    from sottovoce_server.flower.control import connected
    from sottovoce_server.home.runs import RunFolder

    opened = _home(home)
    folder = RunFolder.of(opened, run)
    with connected(opened) as control:
        under_way = [each.number for each in control.runs() if each.name == folder.run and not each.over]
        if not under_way:
            raise ConfigurationError("This run is not running.")
        stopped = all(control.stop(number) for number in under_way)
    if not stopped:
        raise ConfigurationError("The SuperLink could not stop the run; it may have ended already.")
    folder.report("stopped")
    results().print(f"Stopped {folder.run[:8]}.")


@server.command(
    epilog="Examples:\n\n  sottovoce server doctor\n\n  sottovoce server doctor --repair\n\n"
    "  sottovoce server doctor --json\n\nExit code: 0 nothing is wrong, 1 --repair repairs it, 7 a person must decide."
)
def doctor(home: HomeOption = None, repair: RepairOption = False, as_json: JsonOption = False) -> None:
    """Examine the coordinator's home: what is wrong, and what is safe to do.

    Runs that are running are left alone.
    """
    from functools import partial

    from sottovoce_server.home.examination import examine

    diagnose(partial(examine, _home(home)), repair=repair, as_json=as_json)


@server.command(epilog="Examples:\n\n  sottovoce server end 3fa1\n\n  sottovoce server end 3fa1 --yes --json")
def end(
    run: Annotated[str, typer.Argument(help="The run's id, or its first characters.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a run for good, without a release. It cannot be resumed.

    Its labels release what they reserved for it, and delete its keys: connected ones now, the others when they return.
    """
    from sottovoce.errors import SottovoceError
    from sottovoce_server.flower.control import connected
    from sottovoce_server.home.runs import RunFolder
    from sottovoce_server.rounds.end_for_good import end_for_good
    from sottovoce_server.rounds.submission import say_over

    opened = _home(home)
    folder = RunFolder.of(opened, run)
    if not yes:
        typer.confirm(f"End run {folder.run} for good, without a release?", abort=True, err=True)
    end_for_good(opened, folder.run)
    try:
        with connected(opened) as control:
            say_over(folder, control)
        told = True
    except SottovoceError:
        told = False
    if as_json:
        print_json({"run": folder.run, "telling": told})
    else:
        later = "" if told else " Its labels are notified during the next run: the SuperLink is not running."
        results().print(f"Ended {folder.run[:8]}.{later}", soft_wrap=True)


@server.command(
    name="leave-out",
    epilog="Examples:\n\n  sottovoce server leave-out verve --run 3fa1\n\n"
    '  sottovoce server leave-out verve --run 3fa1 --reason "its machine is broken"',
)
def leave_label_out(
    label: Annotated[str, typer.Argument(help="The label.", show_default=False)],
    run: Annotated[str, typer.Option("--run", metavar="RUN", help="The run's id, or its first characters.")],
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Reason for the journal and the history.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Leave a label out of a running run, from its next round on.

    The journal, the run's history and each later request to the other labels record it. Labels that provably lied are
    left out automatically. Refused if too few labels would be left for a sum.
    """
    from sottovoce_server.rounds.leave_out import leave_out

    folder = leave_out(_home(home), run, label, reason=reason)
    if as_json:
        print_json({"run": folder.run, "label": label, "left_out": folder.left_out_by_hand()})
    else:
        results().print(f"{label} is left out of {folder.run[:8]} from its next round on.", markup=False)


@journal.command(
    epilog="Examples:\n\n  sottovoce server journal verify\n\n  sottovoce server journal verify --head 5d0c…"
)
def verify(
    head: Annotated[str | None, typer.Option(help="Earlier newest digest, as kept elsewhere.")] = None,
    home: HomeOption = None,
) -> None:
    """Check that no line of the journal was changed, inserted or removed.

    Lines cut off at the end are detected only with --head, given a digest that was kept elsewhere.
    """
    entries = _home(home).journal().verify(head)
    results().print(f"Verified: {counted(len(entries), 'line')}, each signed and chained to the previous one.")
    if entries:
        results().print(f"Newest digest: {entries[-1].digest}", soft_wrap=True)


@journal.command(epilog="Example:\n\n  sottovoce server journal show --json")
def show(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Verify the journal and print it."""
    entries = _home(home).journal().verify()
    if as_json:
        print_json([vars(entry) for entry in entries])
        return
    for entry in entries:
        said = ", ".join(f"{name}: {value}" for name, value in entry.data.items() if name not in ("signature", "files"))
        results().print(f"{entry.number} {entry.time} {entry.kind}  {said}", soft_wrap=True, markup=False)
