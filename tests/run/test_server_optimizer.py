"""The server's optimiser is the one that Flower's strategies have, up to float32's rounding."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAdam, FedAvgM, FedYogi
from flwr.supercore.task_identity import TaskIdentity

from sottovoce.run.server_optimizer import ServerOptimizer

SIZE, ROUNDS = 20_000, 5


@pytest.fixture(autouse=True)
def _task_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


class Nodes:
    def get_node_ids(self):
        return [1, 2]


def flowers(strategy, start, updates):
    arrays = ArrayRecord({"arrays": Array(start)})
    for number, update in enumerate(updates, start=1):
        list(strategy.configure_train(number, arrays, ConfigRecord(), Nodes()))
        moved = ArrayRecord({"arrays": Array(arrays["arrays"].numpy() + update)})
        content = RecordDict({"arrays": moved, "metrics": MetricRecord({"num-examples": 1})})
        arrays, _ = strategy.aggregate_train(number, [Message(content, dst_node_id=0, message_type="train")])
    return arrays["arrays"].numpy()


@pytest.mark.parametrize(
    ("name", "rate", "strategy"),
    [
        ("fedavg", 1.0, FedAvgM(server_learning_rate=1.0, server_momentum=0.0)),
        ("fedavg", 0.3, FedAvgM(server_learning_rate=0.3, server_momentum=0.0)),
        ("fedavgm", 0.3, FedAvgM(server_learning_rate=0.3, server_momentum=0.9)),
        ("fedadam", 0.05, FedAdam(eta=0.05)),
        ("fedyogi", 0.05, FedYogi(eta=0.05)),
    ],
)
def test_it_is_flowers(run_configuration, name, rate, strategy):
    random = np.random.default_rng(0)
    start = random.normal(size=SIZE).astype(np.float32)
    updates = [(0.01 * random.normal(size=SIZE)).astype(np.float32) for _ in range(ROUNDS)]
    ours, parameters = ServerOptimizer(run_configuration(server_optimizer=name, server_learning_rate=rate), SIZE), start
    for number, update in enumerate(updates, start=1):
        parameters = ours.step(parameters, update, number)
    # A few rounding errors of float32: Flower takes the updates back out of parameters that they were added to.
    expected = flowers(strategy, start, updates)
    assert np.abs(parameters - expected).max() < 2e-5
    assert np.abs(parameters - start).max() > 0.01


def test_moments_of_another_optimiser_are_refused(run_configuration):
    adam, average = (ServerOptimizer(run_configuration(server_optimizer=each), 5) for each in ("fedadam", "fedavgm"))
    with pytest.raises(ValueError, match="another optimiser"):
        average.restore(adam.state())
