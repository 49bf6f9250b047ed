"""What a label's people are told of a run on their own screen, and what of it reaches nobody else."""

import json

import pytest
from typer.testing import CliRunner

from sottovoce.cli import app
from sottovoce.features.extract import default_spec
from sottovoce.features.spec import View
from sottovoce.federation.refusals import RefusalReason
from sottovoce.protocol.messages import Advert, Announcement, Complaint, Refusal, Shares, decode
from sottovoce.protocol.participant import Participant
from sottovoce.run.records import Action
from sottovoce_client.data.dataset import TrackDataset
from sottovoce_client.data.declaration import Suggestion, declare
from sottovoce_client.data.preparation import Prepared
from sottovoce_client.home.confirmations import withdraw
from sottovoce_client.home.diary import What
from sottovoce_client.rounds import trainer
from sottovoce_client.rounds.label import Label
from sottovoce_server.flower.run_app import train


@pytest.fixture
def screen(federation):
    """`sottovoce label …` at the first label: its text, or with --json its values."""

    def show(*arguments):
        done = CliRunner().invoke(app, ["label", *arguments, "--home", str(federation.homes[0].root)])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout) if "--json" in arguments else " ".join(done.stdout.replace("│", " ").split())

    return show


def answer(federation, agreement, config):
    """Of the first label to the announcement of a run, in a process of its own."""
    return decode(Label(federation.homes[0]).answer(Announcement.of(agreement, config).encode(), None))


def test_a_label_that_declares_nothing_sees_the_command_and_the_coordinator_one_word(
    agreement, config, federation, screen
):
    declare(federation.homes[0], Suggestion(0, 0))
    said = answer(federation, agreement, config)
    assert isinstance(said, Refusal)
    assert said.reason is RefusalReason.CATALOGUE
    assert b"declare" not in said.encode()
    assert "sottovoce label catalogue --declare" in screen("status")
    (refused,) = screen("ledger", "--json")["runs"]
    assert refused["reason"] == "catalogue"
    assert "declares 0" in refused["why"]
    assert refused["hint"].startswith("sottovoce label catalogue --declare")


def test_a_label_without_a_fitting_track_says_so_to_its_own_people_only(
    federation, agreement, config, monkeypatch, screen, caplog
):
    monkeypatch.setattr(trainer, "prepare", lambda *_: Prepared(TrackDataset.empty(default_spec(), View.SUMMARY), None))
    assert isinstance(answer(federation, agreement, config), Advert)
    assert "takes part with noise alone" in caplog.text
    assert "has had no fitting track since this label joined it" in screen("status")
    assert [run["no_tracks"] for run in screen("status", "--json")["open_runs"]] == [0]


def test_a_catalogue_that_is_emptied_under_way_is_noticed_at_the_label(
    grid, labels, agreement, config, federation, monkeypatch
):
    """The control: every round has its sum, of as many bytes; nothing that left tells of it."""
    full = trainer.prepare
    rounds = []

    def prepare(home, config):
        if home.name == "label-1" and len(rounds) > 1:
            return Prepared(TrackDataset.empty(default_spec(), View.SUMMARY), None)
        return full(home, config)

    def begin(name, message):
        if name == "label-1" and message.metadata.message_type == Action.TRAIN.value:
            rounds.append(message)
            labels[0]._loaded_trainer = None  # as in a deployment, where each message has a process of its own

    monkeypatch.setattr(trainer, "prepare", prepare)
    grid.tamper = begin
    history = train(grid, agreement, config).history
    assert [len(record.survivors) for record in history.rounds] == [5] * config.rounds
    notes = [note for note in federation.homes[0].diary.notes() if note.what is What.NO_TRACKS]
    assert [note.details["round"] for note in notes] == [2]
    sizes = {
        name: [
            len(reply.content.config_records["sottovoce"]["frame"])
            for label, kind, reply in grid.seen
            if label == name and kind == Action.TRAIN.value
        ]
        for name in ("label-1", "label-2")
    }
    assert sizes["label-1"] == sizes["label-2"]


def test_status_names_labels_that_went_wrong(grid, agreement, config, monkeypatch, screen):
    unmask = Participant.unmask

    def lie(participant, request):
        """`label-2` gives a wrong share; `label-1` is sent one."""
        shares = unmask(participant, request)
        if request.round > 1:
            return shares
        fields = {name: getattr(shares, name) for name in ("run", "round", "survivors_digest", "label")}
        if shares.label == "label-2":
            return Shares.sign(
                participant._identity, **fields, complaints=shares.complaints, values=(bytes(32), *shares.values[1:])
            )
        if shares.label == "label-1":
            complaint = Complaint("label-3", bytes(32))
            return Shares.sign(
                participant._identity, **fields, complaints=(complaint,), values=shares.values[:2] + shares.values[3:]
            )
        return shares

    monkeypatch.setattr(Participant, "unmask", lie)
    history = train(grid, agreement, config).history
    assert "label-2" in history.left_out
    shown = screen("status")
    assert "Labels that went wrong" in shown
    assert "label-2 left out of the run by the coordinator" in shown
    assert "label-3 its share in round 1 was wrong: the label or the coordinator lied" in shown
    (wrong,) = screen("status", "--json")["gone_wrong"]
    assert wrong["complained"] == [[1, ["label-3"]]]
    assert wrong["left_out"] == ["label-2"]


def test_a_label_that_has_withdrawn_too_many_takes_part_no_more_in_a_run_under_way(
    grid, labels, agreement, config, federation
):
    home = federation.homes[0]

    def begin(name, message):
        if name == "label-1" and message.metadata.message_type == Action.CROSS_CHECK.value:
            withdraw(home, home.identity(), agreement.federation, agreement.members[1:3])
            labels[0] = Label(home)

    grid.tamper = begin
    history = train(grid, agreement, config).history
    assert [len(record.survivors) for record in history.rounds] == [5, 4, 4]
    declined = [note.details for note in home.diary.notes() if note.what is What.ROUND_DECLINED]
    assert {(each["round"], each["reason"]) for each in declined} == {
        (2, "unconfirmed"),
        (3, "unconfirmed"),
        (4, "unconfirmed"),
    }
