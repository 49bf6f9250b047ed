"""The coordinator's app looks for replies soon, and waits for none that cannot come."""

from types import SimpleNamespace

import httpx
import pytest

from sottovoce_server.flower import polling_grid
from sottovoce_server.flower.polling_grid import PollingGrid


class Grid:
    """Answers the n-th message at the n-th poll; None represents a message that could not be sent."""

    def __init__(self, sent):
        self.sent = sent
        self.looks = []

    def push_messages(self, messages):
        assert list(messages) == ["asked"]
        return self.sent

    def pull_messages(self, numbers):
        self.looks.append(set(numbers))
        number = f"m{len(self.looks)}"
        return [SimpleNamespace(metadata=SimpleNamespace(reply_to_message_id=number))] if number in numbers else []


def test_each_reply_is_looked_for_until_it_is_there():
    grid, paused = Grid(["m1", "m3"]), []
    replies = PollingGrid(grid, paused.append).send_and_receive(["asked"], timeout=None)
    assert [reply.metadata.reply_to_message_id for reply in replies] == ["m1", "m3"]
    assert grid.looks == [{"m1", "m3"}, {"m3"}, {"m3"}]
    assert paused == sorted(paused)
    assert len(paused) == 2


def test_who_does_not_answer_in_time_is_left_behind(monkeypatch):
    now = iter(range(10_000))  # seconds: one passes with each look
    monkeypatch.setattr(polling_grid, "time", SimpleNamespace(monotonic=lambda: next(now)))
    grid = Grid(["m1", "never"])
    replies = PollingGrid(grid, lambda _: None).send_and_receive(["asked"], timeout=50)
    assert [reply.metadata.reply_to_message_id for reply in replies] == ["m1"]


def test_nobody_waits_for_what_could_not_be_sent():
    grid = Grid([None, "m1"])
    assert len(PollingGrid(grid, lambda _: None).send_and_receive(["asked"])) == 1
    assert grid.looks == [{"m1"}]
    assert PollingGrid(Grid([None]), lambda _: None).send_and_receive(["asked"]) == []


def test_a_pause_of_the_network_ends_no_run(monkeypatch):
    failing = iter([httpx.ConnectTimeout("1"), httpx.ConnectError("2"), None, httpx.ReadTimeout("3"), None])

    class Away(Grid):
        def push_messages(self, messages):
            return self.after_failures(super().push_messages, messages)

        def pull_messages(self, numbers):
            return self.after_failures(super().pull_messages, numbers)

        @staticmethod
        def after_failures(call, *arguments):
            if error := next(failing, None):
                raise error
            return call(*arguments)

    monkeypatch.setattr(polling_grid.time, "sleep", lambda _: None)
    grid = Away(["m1"])
    assert len(PollingGrid(grid, lambda _: None).send_and_receive(["asked"])) == 1
    assert grid.looks == [{"m1"}]


def test_a_message_that_may_have_been_sent_is_not_sent_again(monkeypatch):
    class Away(Grid):
        def push_messages(self, messages):
            super().push_messages(messages)
            raise httpx.ReadTimeout("who knows")

    monkeypatch.setattr(polling_grid.time, "sleep", lambda _: None)
    with pytest.raises(httpx.ReadTimeout):
        PollingGrid(Away(["m1"]), lambda _: None).send_and_receive(["asked"])


@pytest.mark.parametrize(("waited", "pause"), [(0.0, 0.25), (5.0, 0.25), (20.0, 1.0), (3600.0, 3.0)])
def test_a_pause_is_a_share_of_the_wait(monkeypatch, waited, pause):
    slept = []
    monkeypatch.setattr(polling_grid.time, "sleep", slept.append)
    polling_grid.sleep(waited)
    assert slept == [pause]
