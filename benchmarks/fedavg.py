"""Flower's plain FedAvg on a deployed federation, as a baseline for masked rounds: unmasked, unclipped, no privacy.

It uses the same data, model and local training as a masked run, so only the messages differ. For benchmarks only.
"""

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from sottovoce.files import write_text
from sottovoce.run.configuration import RunConfiguration
from sottovoce_client.training.round_inputs import RoundInputs

ORDER = "BENCHMARK_ORDER"
"""Environment variable: path of the order; results are written to the same path with `.done` appended."""
ARRAYS, CONFIG, RUN, EXAMPLES, SECONDS = "arrays", "config", "run", "num-examples", "training-seconds"

client = ClientApp()
server = ServerApp()


def _sent(message: Message) -> tuple[RunConfiguration, np.ndarray]:
    config = RunConfiguration.from_bytes(bytes(message.content.config_records[CONFIG][RUN]))
    return config, message.content.array_records[ARRAYS]["model"].numpy()


def _data(config: RunConfiguration):
    from sottovoce_client.data.preparation import prepare
    from sottovoce_client.home.label_home import LabelHome, default_root

    return prepare(LabelHome.open(default_root()), config)


@client.train()
def train_plainly(message: Message, _context: Context) -> Message:
    """Train as a label does in a run without privacy, and send the new parameters unmasked."""
    from sottovoce.models import discovery
    from sottovoce.randomness import Randomness
    from sottovoce_client.training.dp_sgd import train

    config, model = _sent(message)
    data = _data(config).train
    started = time.perf_counter()
    update = train(
        RoundInputs(discovery.family(config.task, config.family), model, data, config, None, Randomness.system(), None)
    )
    metrics = {EXAMPLES: data.units, SECONDS: time.perf_counter() - started}
    content = {ARRAYS: ArrayRecord({"model": Array(model + update)}), "metrics": MetricRecord(metrics)}
    return Message(RecordDict(content), reply_to=message)


@client.evaluate()
def evaluate_plainly(message: Message, _context: Context) -> Message:
    """Count on held-out tracks, and send the counts unmasked."""
    from sottovoce.models import discovery
    from sottovoce_client.training.evaluation import measure

    config, model = _sent(message)
    data = _data(config).holdout
    counted = measure(discovery.family(config.task, config.family), model, data, config)
    metrics = MetricRecord({EXAMPLES: data.units, "counted": float(counted.sum())})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


class _Timed(FedAvg):
    """FedAvg that records each round's seconds, and those of its slowest label's training."""

    def configure_train(self, server_round: int, *rest) -> Iterable[Message]:
        self.started = time.monotonic()
        return super().configure_train(server_round, *rest)

    def aggregate_train(self, server_round: int, replies: Iterable[Message]):
        replies = list(replies)
        trained = [reply.content.metric_records["metrics"][SECONDS] for reply in replies if not reply.has_error()]
        self.rounds = [*getattr(self, "rounds", []), {"answered": len(trained), "training": max(trained)}]
        self.rounds[-1]["train_exchange"] = time.monotonic() - self.started
        return super().aggregate_train(server_round, replies)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]):
        self.rounds[-1]["round"] = time.monotonic() - self.started
        return super().aggregate_evaluate(server_round, replies)


@server.main()
def main(grid: Grid, _context: Context) -> None:
    """Carry out the order."""
    order = json.loads(Path(os.environ[ORDER]).read_text(encoding="utf-8"))
    config = RunConfiguration.from_bytes(order["config"].encode())
    labels = order["labels"]
    strategy = _Timed(min_train_nodes=labels, min_evaluate_nodes=labels, min_available_nodes=labels)
    record = ConfigRecord({RUN: config.to_bytes()})
    first = ArrayRecord({"model": Array(np.zeros(order["parameters"], np.float32))})
    strategy.start(grid, first, config.rounds, 600, record, record)
    write_text(Path(os.environ[ORDER] + ".done"), json.dumps(strategy.rounds))
