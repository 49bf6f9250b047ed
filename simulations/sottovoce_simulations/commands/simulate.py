"""`sottovoce simulate`: run simulations and print the results. Heavy imports are inside the function."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from sottovoce.commands.declared_options import takes
from sottovoce.commands.output import notes, say
from sottovoce.errors import ConfigurationError
from sottovoce.run.configuration import Trust
from sottovoce.run.request import RunRequest


@takes(RunRequest)
def simulate(
    request: RunRequest,
    catalogues: Annotated[
        Path | None,
        typer.Option(
            help="Folder with one folder per label or, with --clients, one pool to split. Default: synthetic."
        ),
    ] = None,
    clients: Annotated[int | None, typer.Option(min=3, help="Split one pool into N labels.")] = None,
    partition: Annotated[str, typer.Option(help="How to split the pool: dirichlet:ALPHA, iid or as-is.")] = "",
    drop_out: Annotated[float, typer.Option(help="Probability that a label drops out of a round.")] = 0.0,
    noise: Annotated[
        str,
        typer.Option(help="local (each label's own) or distributed (of all labels together); both with --sweep."),
    ] = "local",
    sweep: Annotated[
        str | None, typer.Option(help="Run a grid of simulations, such as epsilon=1,2,4,8,16.", show_default=False)
    ] = None,
    audit: Annotated[
        bool, typer.Option("--audit", help="Instead of training, attack the labels' code with canaries.")
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="With --sweep: simulations per cell.")] = 3,
    cpus: Annotated[int | None, typer.Option(min=1, help="Cores to use. Default: all.", show_default=False)] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for results; an interrupted sweep resumes there. Default: runs/TIME-FAMILY."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the final figures as one JSON object.")] = False,
) -> None:
    """Train a model over many labels on this machine, with the code that labels and coordinator run.

    Writes run.json, metrics.csv, plots, report.html and a signed release to OUT.

    Examples:

    sottovoce simulate

    sottovoce simulate --catalogues music/ --family cnn --out runs/cnn

    sottovoce simulate --catalogues pool/ --clients 20 --partition dirichlet:0.5

    sottovoce simulate --catalogues music/ --noise distributed --epsilon 2

    sottovoce simulate --catalogues pool/ --clients 5 --sweep epsilon=1,2,4,8 --noise local,distributed --out runs/grid

    sottovoce simulate --catalogues music/ --drop-out 0.2 --json > figures.json

    sottovoce simulate --audit --noise distributed --epsilon 2
    """
    from sottovoce_simulations.commands.simulation_display import Console
    from sottovoce_simulations.engine.experiment import Experiment
    from sottovoce_simulations.engine.partition import Scheme
    from sottovoce_simulations.engine.simulation import results_folder
    from sottovoce_simulations.engine.simulation import simulate as run
    from sottovoce_simulations.engine.sweep import Sweep
    from sottovoce_simulations.engine.sweep import sweep as run_sweep

    console = Console(quiet=as_json)
    noises = _noises(noise)
    if sweep is None and len(noises) > 1:
        raise ConfigurationError("Two kinds of noise need a sweep.", hint="Add --sweep epsilon=…")
    if audit and (catalogues is not None or sweep is not None):
        raise ConfigurationError(
            "An audit has canaries instead of catalogues, and one setting.", hint="Leave out --catalogues and --sweep."
        )
    experiment = Experiment(
        catalogues=Path() if audit else console.synthetic() if catalogues is None else catalogues,
        scheme=Scheme.parse(partition or Scheme.default(clients)),
        clients=clients,
        drop_out=drop_out,
        noise=Trust.DISTRIBUTED if Trust.DISTRIBUTED in noises else Trust.LOCAL,
        **vars(request),
    )
    if audit:
        from sottovoce_simulations.commands.audit_display import audit_and_show

        audit_and_show(experiment, console, as_json=as_json)
        return
    folder = out or results_folder(request.family)
    if sweep is not None:
        wanted = Sweep.parse(sweep, noises, seeds, request.seed or 1)
        with console:
            console.stage("Simulating")
            grid = run_sweep(experiment, wanted, folder, cpus=cpus, progress=console.advance)
        if as_json:
            sys.stdout.write(json.dumps(grid, ensure_ascii=False) + "\n")
        else:
            console.show_sweep(grid, folder)
        return
    with console:
        result = run(experiment, folder, watcher=console, cpus=cpus)
    if as_json:
        sys.stdout.write(json.dumps(result["figures"], ensure_ascii=False) + "\n")
    else:
        console.show(result, folder)


def _noises(text: str) -> list[Trust]:
    if "shared" in text.split(","):
        say(
            notes(),
            "Note",
            "--noise shared is now --noise distributed; the next version drops the old name.",
            "bold",
        )
    try:
        return [Trust(name) for name in text.split(",")]
    except ValueError:
        raise ConfigurationError(
            f"'{text}' is not a kind of noise.", hint=f"Choose from {', '.join(Trust)}, or use both with --sweep."
        ) from None
