"""What a coordinator tries against real labels over Flower's messages, and what it gets: nothing but a word."""

import os
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict

from sottovoce.privacy.calibration import plan_for
from sottovoce.protocol.aggregator import Aggregator
from sottovoce.protocol.messages import Announcement, Kind, decode
from sottovoce.run.records import FRAME, PARAMETERS, RECORD, SUMS, Action, parameters_digest
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.home.confirmations import confirm, withdraw
from sottovoce_client.home.diary import What
from sottovoce_client.home.policy import Policy
from sottovoce_client.rounds.label import Label

ELEMENTS = 100


def ask(grid, node: int, action: str, frame: bytes, parameters: np.ndarray | None = None) -> Message:
    """A label's answer; with parameters, as if all rounds before were aborted."""
    content = RecordDict({RECORD: ConfigRecord({FRAME: frame})})
    if parameters is not None:
        content[PARAMETERS] = ArrayRecord({PARAMETERS: Array(parameters)})
        aborted = Array(np.zeros(8, np.uint8))
        content[SUMS] = ArrayRecord({str(number): aborted for number in range(1, decode(frame).round)})
    message = Message(content, dst_node_id=node, message_type=action)
    return grid.app(message, Context(1, node, {"partition-id": node - 1}, RecordDict(), {}))


def reason(reply: Message) -> str:
    assert reply.has_error()
    return reply.error.reason


@pytest.fixture
def joined(grid, agreement, config):
    """An aggregator that all five labels have joined."""
    aggregator = Aggregator(agreement, Announcement.of(agreement, config))
    names = [label.home.name for label in grid.labels]

    def exchange(action, requests):
        for label, message in requests.items():
            reply = ask(grid, names.index(label) + 1, action.value, message.encode())
            aggregator.receive(decode(reply.content.config_records[RECORD][FRAME]))

    exchange(Action.ANNOUNCE, dict.fromkeys(names, aggregator.announcement))
    exchange(Action.ROSTER, aggregator.fix_members())
    exchange(Action.NONCES, aggregator.close_reveals())
    exchange(Action.PAIRING, aggregator.close_ciphertexts())
    aggregator.prepare = lambda number: exchange(Action.PREPARE, aggregator.prepare_requests(number))
    return aggregator


@pytest.fixture
def parameters(config):
    from sottovoce.features.extract import default_spec
    from sottovoce.models import discovery
    from sottovoce.models.parameters import initial

    return initial(discovery.family(config.task, config.family), default_spec(), len(config.classes), config.seed)


def request(aggregator, parameters, number: int = 1, kind: Kind = Kind.TRAIN, participants=None):
    from sottovoce.models import discovery
    from sottovoce.protocol.layout import VectorLayout

    aggregator.prepare(number)
    config, participants = aggregator.config, participants or aggregator.adverts
    layout = VectorLayout.for_round(
        config,
        kind,
        parameters=parameters.size,
        counters=len(discovery.task(config.task).counters(len(config.classes))),
        participants=len(participants),
    )
    digest = parameters_digest(parameters)
    return aggregator.start_round(number, kind, participants, digest, layout.elements).encode()


def charges(label) -> int:
    with Ledger(label.home.ledger_file) as ledger:
        return len([row for row in ledger.rows() if row.kind == "charge"])


def test_repeat_a_round(grid, joined, parameters, labels):
    frame = request(joined, parameters)
    assert not ask(grid, 1, Action.TRAIN.value, frame, parameters).has_error()
    assert reason(ask(grid, 1, Action.TRAIN.value, frame, parameters)) == "StaleRound"
    assert charges(labels[0]) == 1


def test_send_other_parameters_than_the_others_got(grid, joined, parameters, labels):
    frame = request(joined, parameters)
    assert reason(ask(grid, 1, Action.TRAIN.value, frame, parameters + 1)) == "UnfollowedParameters"
    assert charges(labels[0]) == 0


@pytest.mark.parametrize("least", [4, 5])
@pytest.mark.parametrize("kind", list(Kind))
def test_ask_for_a_round_with_fewer_labels_than_one_of_them_wants(
    grid, joined, parameters, config, labels, kind, least
):
    """The agreement allows four of five; the label's own policy may want all of them."""
    home = labels[0].home
    home.policy_file.write_text(f"least_participants = {least}\ndeclared_tracks = 60\n")
    grid.labels[0] = Label(home)
    if kind is Kind.EVALUATE:  # comes after training, of which there was one round
        assert not ask(grid, 1, Action.TRAIN.value, request(joined, parameters), parameters).has_error()
    before = charges(labels[0])
    participants = [label for label in joined.adverts if label != "label-5"]
    number = config.rounds + 1 if kind is Kind.EVALUATE else 2
    frame = request(joined, parameters, number, kind, participants)
    reply = ask(grid, 1, Action.EVALUATE.value if kind is Kind.EVALUATE else Action.TRAIN.value, frame, parameters)
    if least == 4:
        assert not reply.has_error()
        return
    assert reason(reply) == "TooFewParticipants"
    assert charges(labels[0]) == before
    declined = [note for note in home.diary.notes() if note.what is What.ROUND_DECLINED]
    assert [note.details["round"] for note in declined] == [number]


def test_make_a_round_of_labels_that_one_of_them_has_not_confirmed(grid, joined, parameters, labels, federation):
    """The agreement has enough confirmed members; the coordinator picks a round's participants."""
    home = labels[0].home
    home.confirmations_file.unlink()
    known = [member for member in federation.agreement.members if member.name in ("label-2", "label-3", "label-5")]
    confirm(home, home.identity(), federation.agreement.federation, known)
    home.policy_file.write_text("least_confirmed = 3\ndeclared_tracks = 60\n")
    grid.labels[0] = Label(home)
    assert not ask(grid, 1, Action.TRAIN.value, request(joined, parameters), parameters).has_error()
    others = [label for label in joined.adverts if label != "label-5"]
    frame = request(joined, parameters, 2, participants=others)
    assert reason(ask(grid, 1, Action.TRAIN.value, frame, parameters)) == "TooFewConfirmed"
    assert charges(labels[0]) == 1


def test_begin_a_run_with_members_that_a_label_has_not_confirmed(grid, agreement, config, labels):
    """It joined while enough were; who has joined, it learns from the roster."""
    home, aggregator = labels[0].home, Aggregator(agreement, Announcement.of(agreement, config))
    for node, label in enumerate(labels, start=1):
        assert label.home.name == f"label-{node}"
        reply = ask(grid, node, Action.ANNOUNCE.value, aggregator.announcement.encode())
        aggregator.receive(decode(reply.content.config_records[RECORD][FRAME]))
    withdraw(home, home.identity(), agreement.federation, agreement.members[1:3])
    grid.labels[0] = Label(home)
    roster = aggregator.fix_members()["label-1"].encode()
    assert reason(ask(grid, 1, Action.ROSTER.value, roster)) == "TooFewConfirmed"


def test_train_outside_a_labels_hours(grid, joined, parameters, labels, monkeypatch):
    monkeypatch.setattr(Policy, "awake", lambda policy, now=None: False)
    assert reason(ask(grid, 1, Action.TRAIN.value, request(joined, parameters), parameters)) == "OutsideHours"
    assert charges(labels[0]) == 0
    declined = [note.details for note in labels[0].home.diary.notes() if note.what is What.ROUND_DECLINED]
    assert declined == [{"round": 1, "reason": "hours"}]


def test_block_a_labels_budget_by_a_run_that_it_was_killed_in_while_it_joined(grid, agreement, config, labels):
    stale, home = bytes(16), labels[0].home
    with Ledger(home.ledger_file) as ledger:
        ledger.open_run(stale, plan_for(config, 60), labels[0].policy.ceilings)
    announcement = Announcement.of(agreement, config)
    assert not ask(grid, 1, Action.ANNOUNCE.value, announcement.encode()).has_error()
    with Ledger(home.ledger_file) as ledger:
        assert ledger.open_runs() == (announcement.run,)


def test_leave_the_parameters_out(grid, joined, parameters):
    assert reason(ask(grid, 1, Action.TRAIN.value, request(joined, parameters))) == "UnfollowedParameters"


def test_ask_for_a_vector_of_another_length(grid, joined, parameters, labels):
    digest = parameters_digest(parameters)
    frame = joined.start_round(1, Kind.TRAIN, joined.adverts, digest, ELEMENTS).encode()
    assert reason(ask(grid, 1, Action.TRAIN.value, frame, parameters)) == "WrongVector"
    assert charges(labels[0]) == 0
    assert not ask(grid, 1, Action.TRAIN.value, request(joined, parameters, number=2), parameters).has_error()


def test_send_the_parameters_of_another_model(grid, joined, parameters, labels):
    frame = request(joined, parameters)
    assert reason(ask(grid, 1, Action.TRAIN.value, frame, parameters[1:])) == "WrongParameters"
    assert charges(labels[0]) == 0


def test_train_beyond_the_planned_rounds(grid, joined, parameters, config, labels):
    frame = request(joined, parameters, number=config.rounds + 1)
    assert reason(ask(grid, 1, Action.TRAIN.value, frame, parameters)) == "UnplannedRound"
    assert charges(labels[0]) == 0


@pytest.mark.parametrize("beyond", [-1, 0])
def test_have_more_models_measured_than_planned(grid, joined, parameters, config, beyond):
    frame = request(joined, parameters, number=config.rounds + beyond, kind=Kind.EVALUATE)
    assert reason(ask(grid, 1, Action.EVALUATE.value, frame, parameters)) == "UnplannedRound"


def test_have_a_label_prepare_for_a_round_that_is_not_planned(grid, joined, config):
    requests = joined.prepare_requests(config.rounds + 2)
    assert reason(ask(grid, 1, Action.PREPARE.value, requests["label-1"].encode())) == "UnplannedRound"


def test_have_a_model_measured_that_nothing_was_trained_for(grid, joined, parameters, config):
    """Else evaluations would be free: announce, evaluate, announce again."""
    frame = request(joined, parameters, number=config.rounds + 1, kind=Kind.EVALUATE)
    assert reason(ask(grid, 1, Action.EVALUATE.value, frame, parameters)) == "UnplannedRound"


def test_leave_traces_of_runs_that_nobody_joined(grid, joined, parameters, labels):
    frame = request(joined, parameters).replace(joined.announcement.run, os.urandom(16))
    before = set(labels[0].home.runs.iterdir())
    ask(grid, 1, Action.TRAIN.value, frame, parameters)
    assert set(labels[0].home.runs.iterdir()) == before


def test_announce_a_run_twice(grid, joined):
    assert reason(ask(grid, 1, Action.ANNOUNCE.value, joined.announcement.encode())) == "OutOfOrder"


def test_reserve_a_budget_under_another_agreement(grid, agreement, config, labels):
    announcement = replace(Announcement.of(agreement, config), agreement=bytes(32))
    assert reason(ask(grid, 1, Action.ANNOUNCE.value, announcement.encode())) == "WrongAgreement"
    with Ledger(labels[0].home.ledger_file) as ledger:
        assert not ledger.rows()


def test_speak_of_a_run_that_nobody_joined(grid, joined, parameters, agreement, config):
    other = Announcement.of(agreement, config)
    frame = request(joined, parameters).replace(joined.announcement.run, other.run)
    assert reason(ask(grid, 1, Action.TRAIN.value, frame, parameters)) == "LocalProtocolError"


def test_say_what_only_labels_say(grid, joined):
    advert = next(iter(joined.adverts.values()))
    assert reason(ask(grid, 1, Action.UNMASK.value, advert.encode())) == "OutOfOrder"


@pytest.mark.parametrize("frame", [b"", b"SoVo", os.urandom(200), b"\x80\x04cos\nsystem\n"])
def test_send_rubbish(grid, labels, frame):
    del labels
    assert reason(ask(grid, 1, Action.TRAIN.value, frame)) == "Malformed"


def test_learn_from_a_failure(grid, joined, parameters, labels, monkeypatch):
    """Flower would send an exception's text, and with it a path."""

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device", "/label/secret/track.flac")

    monkeypatch.setattr("sottovoce_client.rounds.local_round.train", fail)
    reply = ask(grid, 1, Action.TRAIN.value, request(joined, parameters), parameters)
    assert reason(reply) == "unavailable"
    assert "secret" not in repr(reply.error.__dict__)
    assert charges(labels[0]) == 1


def test_find_a_ledger_that_is_gone(grid, joined, parameters, labels):
    labels[0].home.ledger_file.unlink()
    assert reason(ask(grid, 1, Action.TRAIN.value, request(joined, parameters), parameters)) == "unavailable"
