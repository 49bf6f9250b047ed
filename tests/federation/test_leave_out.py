"""The coordinator's people leave a label out of a run under way: visibly, and never below what a sum needs."""

import json

import pytest
from typer.testing import CliRunner

from sottovoce.cli import app
from sottovoce.errors import ConfigurationError
from sottovoce.federation.enrolment import Enrolment
from sottovoce.federation.identity import Identity
from sottovoce.protocol.messages import Announcement, ReportRequest, decode
from sottovoce.run.records import FRAME, RECORD, Action
from sottovoce_client.home.diary import What
from sottovoce_client.home.node_key import NodeKey
from sottovoce_server.flower.run_app import train
from sottovoce_server.home.coordinator_home import ServerHome
from sottovoce_server.home.runs import Order, RunFolder
from sottovoce_server.rounds.checkpoint import described
from sottovoce_server.rounds.history import Promise, RunHistory
from sottovoce_server.rounds.leave_out import BY_HAND, leave_out


@pytest.fixture
def home(tmp_path):
    """A coordinator's, with five labels and a signed agreement."""
    made = ServerHome.create(tmp_path / "server", federation="isles", address="127.0.0.1:9092")
    for number in range(1, 6):
        node_key = NodeKey.generate().public
        identity = Identity.generate()
        made.enrol(Enrolment.sign(identity, name=f"label-{number}", node_key=node_key, federation="isles"))
    made.sign()
    return made


@pytest.fixture
def under_way(home, config):
    """A run in its second of three rounds, in which four of the five labels take part."""
    folder = RunFolder.create(home, Order(Announcement.of(home.invitation().agreement, config), "a", 1.0, 1.0))
    promises = tuple(Promise(f"label-{number}", 8.0, 1e-5) for number in range(1, 5))
    with folder.worked_on():
        folder.keeper.started(2)
        folder.report("training", history=described(RunHistory(promises=promises)))
        yield folder


def test_a_label_that_people_name_is_asked_no_more_and_everybody_sees_it(grid, agreement, config, federation):
    named, requests = {}, []

    def watch(name, message):
        if message.metadata.message_type in (Action.TRAIN.value, Action.EVALUATE.value):
            request = decode(message.content.config_records[RECORD][FRAME])
            assert isinstance(request, ReportRequest)
            requests.append((request.round, name, request.left_out))
            if request.round == 1:
                named["label-2"] = BY_HAND

    grid.tamper = watch
    history = train(grid, agreement, config, named=lambda: named).history
    assert [len(record.survivors) for record in history.rounds] == [5, 4, 4]
    assert all("label-2" not in record.participants for record in history.rounds[1:])
    assert history.left_out == {"label-2": BY_HAND}
    assert {left_out for number, _, left_out in requests if number > 1} == {("label-2",)}
    assert {name for number, name, _ in requests if number > 1} == {f"label-{n}" for n in (1, 3, 4, 5)}
    notes = [note for note in federation.homes[0].diary.notes() if note.what is What.LEFT_OUT]
    assert [note.details["labels"] for note in notes] == [["label-2"]]


def test_a_label_that_is_named_before_the_run_is_set_up_is_no_member(grid, agreement, config):
    history = train(grid, agreement, config, named=lambda: {"label-2": BY_HAND}).history
    assert [promise.label for promise in history.promises] == ["label-1", "label-3", "label-4", "label-5"]
    assert all(len(record.survivors) == 4 for record in history.rounds)


def test_with_too_few_left_rounds_are_aborted_in_words(grid, agreement, config):
    """Names may come from people and from proofs at once, so that the rounds themselves hold the bound."""
    named = {}

    def watch(name, message):
        if message.metadata.message_type == Action.TRAIN.value:
            named.update({"label-2": BY_HAND, "label-3": BY_HAND})

    grid.tamper = watch
    history = train(grid, agreement, config, named=lambda: named).history
    assert [len(record.survivors) for record in history.rounds] == [5, 0, 0]
    assert "would have 3 participants; 4 of the run's 5 members are needed" in history.rounds[1].aborted


def test_the_command_writes_journal_and_folder(home, under_way):
    arguments = ["server", "leave-out", "label-2", "--run", under_way.run[:6], "--home", str(home.root)]
    under_way.leave_out("label-1", BY_HAND)
    with pytest.raises(ConfigurationError, match="a sum of this run needs 3"):
        leave_out(home, under_way.run, "label-2")
    (under_way.folder / "leave-out.json").unlink()
    done = CliRunner().invoke(app, [*arguments, "--reason", "its machine is broken", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["left_out"] == {"label-2": f"{BY_HAND}: its machine is broken"}
    assert under_way.left_out_by_hand() == {"label-2": f"{BY_HAND}: its machine is broken"}
    entry = home.journal().verify()[-1]
    assert entry.kind == "leave-out"
    assert entry.data == {
        "run": under_way.run,
        "label": "label-2",
        "why": f"{BY_HAND}: its machine is broken",
        "after": 2,
    }
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 2
    assert "already left out of this run" in again.stderr


@pytest.mark.parametrize(
    ("label", "message"), [("label-5", "is not part of this run"), ("atlantis", "is not part of this run")]
)
def test_only_a_label_of_the_run_can_be_left_out(home, under_way, label, message):
    with pytest.raises(ConfigurationError, match=message):
        leave_out(home, under_way.run, label)
    assert home.journal().verify()[-1].kind == "agreement"


def test_in_the_last_round_and_after_it_nobody_is_left_out(home, under_way, config):
    under_way.keeper.started(config.rounds)
    with pytest.raises(ConfigurationError, match="last of the run's 3 rounds has begun") as caught:
        leave_out(home, under_way.run, "label-1")
    assert "server stop" in (caught.value.hint or "")
    under_way.report("published")
    with pytest.raises(ConfigurationError, match="not active: it is published"):
        leave_out(home, under_way.run, "label-1")


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"version": 2, "labels": {}}', b'{"version": 1, "labels": 3}'])
def test_a_damaged_file_of_names_is_a_named_error(under_way, damage):
    (under_way.folder / "leave-out.json").write_bytes(damage)
    with pytest.raises(ConfigurationError, match=r"leave-out\.json"):
        under_way.left_out_by_hand()
