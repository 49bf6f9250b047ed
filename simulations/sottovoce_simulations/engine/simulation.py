"""One simulation from catalogues to report: the labels' and the coordinator's own code, on one machine."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sottovoce.errors import CatalogueError, ConfigurationError
from sottovoce.files import folder_aside
from sottovoce.models import discovery
from sottovoce.models.initialisation import default_init, init_name, initial_parameters
from sottovoce.release.write import Provenance, write
from sottovoce.run.configuration import RunConfiguration
from sottovoce_client.catalogue import Track
from sottovoce_client.data.feature_cache import FeatureCache
from sottovoce_client.data.preparation import usable_tracks
from sottovoce_server.flower.run_app import train
from sottovoce_server.rounds.history import Outcome, RunHistory
from sottovoce_simulations.engine import flower_engine
from sottovoce_simulations.engine.experiment import Experiment
from sottovoce_simulations.engine.label_dropouts import DropOuts
from sottovoce_simulations.engine.local_federation import Federation
from sottovoce_simulations.engine.partition import partition
from sottovoce_simulations.report.results import figures, rows
from sottovoce_simulations.report.write_report import RUN_FILE, write_report

if TYPE_CHECKING:
    from flwr.serverapp import Grid

SHOWN_PACKAGES = ("sottovoce", "flwr", "torch", "torchaudio", "opacus", "dp-accounting", "cryptography", "numpy")
CACHE = ".sottovoce"
RELEASE = "release"
AGREEMENT = "federation.toml"


def results_folder(family: str) -> Path:
    """Default results folder of a simulation."""
    return Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-{family}"  # noqa: DTZ005 - a name for people


class Watcher(Protocol):
    """Observer of a simulation: the command line's progress bars, or nobody."""

    def stage(self, text: str) -> None:
        """A new stage has begun."""

    def advance(self, done: int, total: int | None) -> None:
        """Progress of the stage, in its own steps."""

    def history(self, history: RunHistory) -> None:
        """Results of the rounds so far."""


class Nobody:
    """An observer that ignores everything."""

    def stage(self, text: str) -> None:
        """Ignore."""

    def advance(self, done: int, total: int | None) -> None:
        """Ignore."""

    def history(self, history: RunHistory) -> None:
        """Ignore."""


@dataclass
class _Clock:
    """Seconds spent in each stage."""

    started: float
    seconds: dict[str, float]

    @contextmanager
    def timing(self, stage: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - begun


def simulate(
    experiment: Experiment, out: Path, *, watcher: Watcher | None = None, cpus: int | None = None
) -> dict[str, Any]:
    """Run an experiment and write its results to `out`, completely or not at all.

    Args:
        experiment: the experiment.
        out: folder for the results; those of an earlier simulation are replaced when this one succeeds.
        watcher: observes the progress.
        cpus: cores to use, or None for all.

    Returns:
        The content of run.json: `configuration`, `figures`, `rounds`, `refusals`, `software`.

    Raises:
        ConfigurationError: `out` contains something else, or the experiment cannot be run.
        CatalogueError: there are too few labels, or a label has no usable tracks.
        RoundAborted: too few labels took part.
    """
    experiment.check()
    with _results(out) as workplace:
        run = _run(experiment, workplace, out, watcher or Nobody(), cpus)
        write_report(workplace, run)
    return run


def _run(experiment: Experiment, workplace: Path, out: Path, watcher: Watcher, cpus: int | None) -> dict[str, Any]:
    clock = _Clock(time.perf_counter(), {})
    cache = _cache(experiment.catalogues, workplace)
    watcher.stage("Looking for labels")
    catalogues = partition(
        experiment.catalogues, cache / "partitions", experiment.clients, experiment.scheme, experiment.seed
    )
    features = cache / "features"
    federation = Federation.create(workplace / "labels", catalogues, features, experiment)
    with clock.timing("features"):
        classes = _styles(federation, experiment, FeatureCache(features), watcher, cpus)
    config = experiment.run_configuration(classes, len(federation.homes))
    start = init_name(config, experiment.init)  # read now: the release may change during the run
    watcher.stage("Training")
    watcher.advance(0, config.rounds)
    outcome = _train(experiment, federation, config, watcher, cpus)
    watcher.stage("Publishing")
    provenance = Provenance(
        config=config,
        spec=discovery.spec_of(config.task, config.family),
        agreement=federation.agreement,
        run=outcome.run,
        rounds=sum(not record.aborted for record in outcome.history.rounds),
        promises=[(promise.epsilon, promise.delta) for promise in outcome.history.promises],
        start=start,
        seeded=experiment.seed is not None,
    )
    federation.agreement.write(workplace / AGREEMENT)
    name = f"{federation.agreement.federation}-{config.task}-{config.family}"
    write(workplace / RELEASE, provenance, outcome.parameters, federation.coordinator, name=name)
    clock.seconds |= {stage: federation.seconds(stage) for stage in ("training", "masking", "evaluation")}
    clock.seconds["total"] = time.perf_counter() - clock.started
    return {
        "configuration": _described(experiment, config),
        "figures": figures(federation, config, outcome, clock.seconds, out / RELEASE),
        "rounds": rows(outcome.history),
        "refusals": outcome.history.refusals,
        "software": {name: version(name) for name in SHOWN_PACKAGES},
    }


def _train(
    experiment: Experiment, federation: Federation, config: RunConfiguration, watcher: Watcher, cpus: int | None
) -> Outcome:
    """Run the training under Flower's simulation engine."""
    outcomes: list[Outcome] = []
    first = initial_parameters(config, experiment.init)

    def serve(grid: "Grid") -> None:
        outcomes.append(
            train(
                grid,
                federation.agreement,
                config,
                on_change=watcher.history,
                first=first,
                coordinator=federation.coordinator,
            )
        )

    faults = None
    if experiment.drop_out:
        faults = DropOuts(experiment.drop_out, config.seed)
    flower_engine.run(serve, [home.root for home in federation.homes], faults=faults, seed=experiment.seed, cpus=cpus)
    return outcomes[0]


def _styles(
    federation: Federation, experiment: Experiment, cache: FeatureCache, watcher: Watcher, cpus: int | None
) -> tuple[str, ...]:
    """Scan every catalogue, compute all features before the run, and collect the styles that occur."""
    tracks: list[Track] = []
    for index, home in enumerate(federation.homes, start=1):
        watcher.stage(f"Scanning {home.name} ({index} of {len(federation.homes)})")
        tracks.extend(usable_tracks(home, experiment.task, workers=cpus, progress=watcher.advance))
    watcher.stage("Computing features")
    spec = discovery.spec_of(experiment.task, experiment.family)
    cache.fill(tracks, spec, workers=cpus, progress=watcher.advance)
    found = {track.style for track in tracks}
    if len(found) < 2:
        raise CatalogueError(
            f"The catalogues have {len(found)} style; recognition needs two or more.",
            hint="Arrange each label's audio as STYLE/track.",
        )
    return tuple(sorted(found))


def _cache(catalogues: Path, workplace: Path) -> Path:
    """Folder of computed features: beside the catalogues, so that later simulations reuse them, else in the results."""
    beside = catalogues / CACHE
    try:
        beside.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=beside):
            return beside
    except OSError:
        return workplace / "cache"


def _described(experiment: Experiment, config: RunConfiguration) -> dict[str, Any]:
    asked = {
        "clients": experiment.clients,
        "partition": str(experiment.scheme),
        "drop_out": experiment.drop_out,
        "init": experiment.init or default_init(config.task, config.family),
        "repeatable": experiment.seed is not None,
    }
    return {**asdict(config), **asked}


@contextmanager
def _results(out: Path) -> Iterator[Path]:
    """A folder that becomes `out` if the block succeeds.

    Raises:
        ConfigurationError: `out` exists and is not an earlier simulation's.
    """
    if out.exists() and not (out / RUN_FILE).exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigurationError(
            f"{out} exists and is not a simulation's results.", hint="Choose a new folder with --out."
        )
    with folder_aside(out) as aside:
        yield aside
