"""Runs a coordinator and many labels under Flower's simulation engine; only this module knows how to start it.

Flower's internals change between releases, so everything specific to them is here: quiet logs, no telemetry, waiting
until every node is registered, and replies that get lost on request.
"""

import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from sottovoce.errors import SottovoceError
from sottovoce_simulations.engine.label_dropouts import DropOuts, Moment

QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Two labels train side by side on two cores; torch's own threads would only compete.
    "OMP_NUM_THREADS": "1",
}
START_SECONDS = 600.0
RAY_STARTS = 10
POLL_SECONDS = 0.05
os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})

import flwr.simulation  # noqa: E402 - Flower and Ray read the settings above when they are imported
import ray  # noqa: E402
from flwr.app import Context, Error, Message  # noqa: E402
from flwr.clientapp.typing import ClientAppCallable, Mod  # noqa: E402
from flwr.serverapp import Grid, ServerApp  # noqa: E402

from sottovoce.protocol.messages import CrossCheckRequest, ReportRequest, UnmaskRequest, decode  # noqa: E402
from sottovoce.run.records import FRAME, RECORD, Action  # noqa: E402
from sottovoce_client.flower.client_app import client_app  # noqa: E402
from sottovoce_client.rounds.label import Label  # noqa: E402
from sottovoce_server.flower.polling_grid import PollingGrid  # noqa: E402

LOST = 503


class EngineError(SottovoceError):
    """Flower's simulation engine failed to start, or stopped."""


def run(
    serve: Callable[[Grid], None],
    homes: list[Path],
    *,
    faults: DropOuts | None,
    seed: int | None,
    cpus: int | None = None,
) -> None:
    """Start one virtual node per home, call `serve` with the grid that reaches them, and shut down.

    Args:
        serve: the coordinator's work; its exceptions end the simulation and are raised here.
        homes: the labels' homes; node k acts for home k.
        faults: drop-outs, or None.
        seed: makes the labels' draws repeatable; None for the operating system's randomness.
        cpus: cores to use, or None for all.

    Raises:
        EngineError: the engine failed, or not all nodes started.
    """
    failure: list[BaseException] = []
    stopped = threading.Event()

    def pause(_waited: float) -> None:
        if stopped.wait(POLL_SECONDS):
            raise EngineError("The simulation was stopped.")

    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        del context
        try:
            _await_nodes(grid, len(homes))
            serve(PollingGrid(grid, pause))
        except BaseException as error:
            failure.append(error)

    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    cpus = min(cpus or os.cpu_count() or 1, len(homes))
    labels = [str(home) for home in homes]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _start_ray(cpus)
            flwr.simulation.run_simulation(
                server_app=app,
                client_app=client_app(_LabelOf(labels, seed), mods=[] if faults is None else [_vanishing(faults)]),
                num_supernodes=len(homes),
                backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
            )
        except RuntimeError as error:
            if not failure:
                raise EngineError(f"Flower's simulation engine stopped: {error}") from error
        finally:
            # After Ctrl-C, Flower's server thread would wait for answers that never come.
            stopped.set()
            ray.shutdown()
    if failure:
        raise failure[0]


def _start_ray(cpus: int) -> None:
    """Start Ray, which Flower's engine uses where it runs; by itself Ray gives up on a busy machine after 30 s.

    Its processes inherit where this one imports from. Given as `runtime_env`, it would make Ray start every one twice.
    """
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([*sys.path, *filter(None, [before])])
    try:
        _try_to_start_ray(cpus)
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _try_to_start_ray(cpus: int) -> None:
    for attempt in range(1, RAY_STARTS + 1):
        try:
            ray.init(
                num_cpus=cpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
            return
        except Exception as error:  # Ray raises nothing narrower
            ray.shutdown()
            if "timed out during startup" not in str(error) or attempt == RAY_STARTS:
                raise EngineError(f"Ray, which runs simulated labels, could not start: {error}") from error


def _await_nodes(grid: Grid, count: int) -> None:
    """Wait for the nodes: the engine registers them while the server app is already running."""
    deadline = time.monotonic() + START_SECONDS
    while len(list(grid.get_node_ids())) < count:
        if time.monotonic() > deadline:
            raise EngineError(f"Not all of {count} simulated labels started within {START_SECONDS:.0f} s.")
        time.sleep(0.02)


class _LabelOf:
    """Finds the label of a virtual node, and caches it: one process acts for many labels."""

    def __init__(self, homes: list[str], seed: int | None) -> None:
        self._homes = homes
        self._seed = seed

    def __call__(self, context: Context) -> Label:
        index = int(context.node_config["partition-id"])
        seed = None if self._seed is None else self._seed * 1_000_003 + index
        return _met(self._homes[index], seed)


_LABELS: dict[tuple[str, int | None], Label] = {}


def _met(home: str, seed: int | None) -> Label:
    if (home, seed) not in _LABELS:
        _LABELS[home, seed] = Label.open(Path(home), simulation_seed=seed)
    return _LABELS[home, seed]


def _round_of(message: Message) -> int:
    frame = message.content.config_records[RECORD][FRAME]
    asked = decode(frame) if isinstance(frame, bytes) else None
    if not isinstance(asked, (ReportRequest, CrossCheckRequest, UnmaskRequest)):
        raise EngineError("A message of a round has no round number.")
    return asked.round


def _vanishing(faults: DropOuts) -> Mod:
    """A wrapper around the client that drops the messages chosen by `faults`."""
    before = {Action.CROSS_CHECK: Moment.BEFORE_CROSS_CHECK, Action.UNMASK: Moment.BEFORE_UNMASK}

    def vanish(message: Message, context: Context, answer: ClientAppCallable) -> Message:
        action = Action(message.metadata.message_type)
        if action not in (Action.TRAIN, Action.CROSS_CHECK, Action.UNMASK):
            return answer(message, context)
        moment = faults.moment(str(context.node_config["partition-id"]), _round_of(message))
        lost = Message(Error(LOST, "unavailable"), reply_to=message)
        if moment is Moment.REPORT_LOST and action is Action.TRAIN:
            answer(message, context)
            return lost
        if moment is before.get(action, Moment.BEFORE_REPORT):
            return lost
        return answer(message, context)

    return vanish
