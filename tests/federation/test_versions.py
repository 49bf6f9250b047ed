"""Two releases side by side: labels and coordinators that speak version 2 alone, with those of today."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest
from flwr.app import Error, Message

from sottovoce.errors import RoundAborted
from sottovoce.federation.agreement import Agreement
from sottovoce.protocol import membership
from sottovoce.protocol.message import FORMER_VERSION, VERSION
from sottovoce.protocol.messages import Announcement, Versions, decode
from sottovoce.run.configuration import RunConfiguration
from sottovoce.run.records import FRAME, RECORD, Action
from sottovoce_client.commands.label.status import show_status
from sottovoce_client.home.diary import What
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.rounds.label import Label
from sottovoce_server.flower.masked_rounds import MaskedRounds
from sottovoce_server.flower.run_app import train
from sottovoce_server.rounds.checkpoint import Keeper
from sottovoce_server.rounds.history import RunHistory


@pytest.fixture
def mixed(grid_of: type, labels: list[Label], monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """A grid in which some labels run the former release: they refuse what is not of version 2, and know no mark.

    `mute` says of (label, statement) whether the statement of its versions is lost on its way.
    """
    marked = membership.marked_nonce

    @dataclass
    class Mixed(grid_of):  # type: ignore[misc]
        former: set[str] = field(default_factory=set)
        mute: Callable[[Versions], bool] = lambda answer: False

        def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
            return [reply for message in messages for reply in self._sent(message)]

        def _sent(self, message: Message) -> list[Message]:
            node = message.metadata.dst_node_id
            frame = message.content.config_records[RECORD][FRAME]
            if self.labels[node - 1].home.name not in self.former:
                monkeypatch.setattr(membership, "marked_nonce", marked)
            elif message.metadata.message_type != Action.COSIGN and frame[:5] != b"SoVo\x02":
                reply = Message(Error(400, "Malformed"), reply_to=message)
                reply.metadata.__dict__["_src_node_id"] = node
                return [reply]
            else:
                monkeypatch.setattr(membership, "marked_nonce", lambda join_tag: bytes(31) + bytes([node]))
            return [reply for reply in super().send_and_receive([message]) if not self._lost(reply)]

        def _lost(self, reply: Message) -> bool:
            if reply.has_error() or reply.metadata.message_type != Action.ANNOUNCE:
                return False
            answer = decode(reply.content.config_records[RECORD][FRAME])  # type: ignore[arg-type]
            return isinstance(answer, Versions) and self.mute(answer)

    return Mixed(labels)


@pytest.fixture(scope="module")
def config(configured: Callable[..., RunConfiguration]) -> RunConfiguration:
    return configured(rounds=1, epsilon=2.0)


@pytest.fixture
def former_coordinator(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes the coordinator one of the former release: it asks nobody, and knows no other version."""

    def make() -> None:
        monkeypatch.setattr(MaskedRounds, "_negotiate", lambda rounds: list(rounds._grid.get_node_ids()))
        monkeypatch.setattr(MaskedRounds, "_may_be_newer", False)
        started = MaskedRounds.play

        def play(rounds: MaskedRounds, **options: bool) -> None:
            rounds._aggregator.announced_in(FORMER_VERSION)
            started(rounds, **options)

        monkeypatch.setattr(MaskedRounds, "play", play)

    return make


def policy(home: LabelHome, oldest: int) -> None:
    with home.policy_file.open("a", encoding="utf-8") as file:
        file.write(f"oldest_protocol = {oldest}\n")


def noted(home: LabelHome, what: What) -> list[dict[str, object]]:
    return [note.details for note in home.diary.notes() if note.what is what]


def reporting(history: RunHistory) -> set[str]:
    return {label for record in history.rounds for label in record.survivors}


EVERYBODY = {f"label-{number}" for number in range(1, 6)}


def test_labels_of_two_releases_train_together_in_the_former_version(mixed, agreement, config, federation) -> None:  # type: ignore[no-untyped-def]
    mixed.former = {"label-2"}
    history = train(mixed, agreement, config, coordinator=federation.coordinator).history
    assert (history.protocol, history.behind) == (FORMER_VERSION, ("label-2",))
    assert reporting(history) == EVERYBODY
    assert [noted(home, What.JOINED)[0]["protocol"] for home in federation.homes] == [FORMER_VERSION] * 5
    assert all(noted(home, What.OVER) for home in federation.homes)  # this former release knows the end of a run
    mixed.former = set()
    history = train(mixed, agreement, config).history
    assert (history.protocol, history.behind) == (VERSION, ())
    assert reporting(history) == EVERYBODY


def test_a_coordinator_of_the_former_release_trains_with_labels_of_today(
    mixed,
    agreement,
    config,
    federation,
    former_coordinator,  # type: ignore[no-untyped-def]
) -> None:
    former_coordinator()
    history = train(mixed, agreement, config).history
    assert reporting(history) == EVERYBODY
    assert [noted(home, What.JOINED)[0]["protocol"] for home in federation.homes] == [FORMER_VERSION] * 5


def test_a_run_goes_on_when_a_label_upgrades_and_goes_back(mixed, agreement, config, tmp_path) -> None:  # type: ignore[no-untyped-def]
    class Crash(Exception):
        pass

    asked = iter(range(100))

    def in_round_two() -> dict[str, str]:
        if next(asked) == 2:
            raise Crash
        return {}

    mixed.former = {"label-2", "label-4"}
    (tmp_path / "run").mkdir()
    keeper, plan = Keeper(tmp_path / "run"), config.changed(rounds=3)
    known = {"announcement": Announcement.of(agreement, plan), "keeper": keeper}
    with pytest.raises(Crash):
        train(mixed, agreement, plan, **known, named=in_round_two)
    mixed.former = {"label-3"}  # two have upgraded, one has gone back
    history = train(mixed, agreement, plan, **known, resume=True).history
    assert (history.protocol, history.behind) == (FORMER_VERSION, ("label-2", "label-4"))
    assert [set(record.survivors) for record in history.rounds] == [EVERYBODY, set(), EVERYBODY]


def test_a_label_whose_policy_wants_a_newer_version_than_most_speak_is_told_why(
    mixed,
    agreement,
    config,
    federation,  # type: ignore[no-untyped-def]
) -> None:
    mixed.former = {"label-2", "label-4"}
    policy(federation.homes[2], VERSION)
    mixed.labels[2] = Label(federation.homes[2])
    history = train(mixed, agreement, config).history
    assert reporting(history) == EVERYBODY - {"label-3"}
    assert history.left_out == {
        "label-3": "the run uses version 2 of the protocol, and it speaks version 3 only",
    }
    (refused,) = noted(federation.homes[2], What.REFUSED)
    assert refused["why"] == "The run uses version 2 of the protocol; this label's policy requires 3."


@pytest.mark.parametrize("mute", [EVERYBODY, {"label-3"}])
def test_statements_that_are_lost_delay_the_newer_version_only(mixed, agreement, config, mute) -> None:  # type: ignore[no-untyped-def]
    """If they are held back, the set-up is repeated, and the run is not in the former version."""
    mixed.mute = lambda answer: answer.label in mute
    history = train(mixed, agreement, config).history
    assert (history.protocol, history.behind) == (VERSION, ())
    assert reporting(history) == EVERYBODY


def test_a_label_of_the_former_release_that_does_not_join_holds_nobody_back(
    mixed,
    agreement,
    config,
    federation,  # type: ignore[no-untyped-def]
) -> None:
    mixed.former = {"label-2"}
    home = federation.homes[1]
    with home.policy_file.open("a", encoding="utf-8") as file:
        file.write("most_rounds = 1\n")
    mixed.labels[1] = Label(home)
    history = train(mixed, agreement, config.changed(rounds=2)).history
    assert history.refusals.keys() == {"label-2"}
    assert history.protocol == VERSION
    assert reporting(history) == EVERYBODY - {"label-2"}


def test_a_coordinator_that_has_spoken_the_newer_version_cannot_go_back_unseen(
    mixed,
    agreement,
    config,
    federation,
    former_coordinator,
    capsys,  # type: ignore[no-untyped-def]
) -> None:
    """Unless the label's people say that it may, or a member speaks no newer one."""
    train(mixed, agreement, config)
    former_coordinator()
    with pytest.raises(RoundAborted, match="Only 0 labels"):
        train(mixed, agreement, config)
    for home in federation.homes:
        assert noted(home, What.ROUND_DECLINED) == [{"round": 0, "reason": "protocol"}]
        show_status(home.root, as_json=False)
        assert "all its members speak a newer version of the protocol" in " ".join(capsys.readouterr().out.split())
        policy(home, FORMER_VERSION)
    mixed.labels[:] = [Label(home) for home in federation.homes]
    assert reporting(train(mixed, agreement, config).history) == EVERYBODY


def test_a_label_of_the_former_release_is_reason_enough_for_its_version(
    mixed,
    agreement: Agreement,
    config,
    former_coordinator,  # type: ignore[no-untyped-def]
) -> None:
    train(mixed, agreement, config)
    former_coordinator()
    mixed.former = {"label-5"}
    assert reporting(train(mixed, agreement, config).history) == EVERYBODY
