"""Labels that Flower takes for connected after a restart, and cannot reach: a run waits until they are back."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from flwr.app import Error, Message
from flwr.common.constant import ErrorCode

from sottovoce_server.flower import joining
from sottovoce_server.flower.run_app import train


@pytest.fixture
def restarted(grid_of, labels, monkeypatch):
    """A grid whose clock advances when somebody sleeps; nodes in `away` are reached after a number of seconds."""

    @dataclass
    class Restarted(grid_of):
        away: dict[int, float] = field(default_factory=dict)
        now: float = 0.0

        def sleep(self, seconds: float) -> None:
            self.now += seconds

        def get_node_ids(self) -> Iterable[int]:
            """At first all of them, then those that are reached."""
            return [node for node in super().get_node_ids() if not 0 < self.now < self.away.get(node, 0)]

        def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
            replies = []
            for message in messages:
                node = message.metadata.dst_node_id
                if self.now >= self.away.get(node, 0):
                    replies += super().send_and_receive([message], timeout=timeout)
                    continue
                replies.append(Message(Error(ErrorCode.NODE_UNAVAILABLE, "gone"), reply_to=message))
                replies[-1].metadata.__dict__["_src_node_id"] = node
            return replies

    grid = Restarted(labels)
    monkeypatch.setattr(joining, "time", SimpleNamespace(monotonic=lambda: grid.now, sleep=grid.sleep))
    return grid


@pytest.fixture(scope="module")
def config(configured):
    return configured(rounds=1, epsilon=2.0)


def test_a_run_waits_for_labels_whose_former_connections_are_not_overdue_yet(restarted, agreement, config):
    restarted.away = {2: 20.0, 5: 40.0}
    history = train(restarted, agreement, config).history
    assert history.rounds[0].survivors == tuple(f"label-{number}" for number in range(1, 6))
    assert 40 <= restarted.now < 45


def test_it_does_not_wait_for_ever(restarted, agreement, config):
    restarted.away = {2: float("inf")}
    history = train(restarted, agreement, config).history
    assert history.rounds[0].survivors == tuple(f"label-{number}" for number in (1, 3, 4, 5))
    assert joining.RETURN_SECONDS <= restarted.now <= joining.RETURN_SECONDS + 5
