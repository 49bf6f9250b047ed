"""A run over real labels and the real coordinator, message by message, without processes."""

from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Array

from sottovoce.errors import ConfigurationError, RoundAborted
from sottovoce.federation.refusals import RefusalReason
from sottovoce.models import discovery
from sottovoce.privacy.events import HeldOutCounts
from sottovoce.protocol.messages import Shares
from sottovoce.protocol.participant import Participant
from sottovoce.protocol.violations import UnfollowedParameters
from sottovoce.run.configuration import Balance, Unit
from sottovoce.run.records import SUMS, Action
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.home.diary import What
from sottovoce_client.rounds import local_round, trainer
from sottovoce_client.rounds.label import Label
from sottovoce_server.flower.run_app import train

HELD_OUT = 15
"""Tracks of each label, in these tests' federation."""


def test_labels_learn_together(grid, agreement, configured):
    config = configured(rounds=8, local_steps=4, batch_size=48, epsilon=50.0)
    outcome = train(grid, agreement, config)
    assert [record.number for record in outcome.history.rounds] == list(range(1, 9))
    assert all(record.survivors == tuple(f"label-{n}" for n in range(1, 6)) for record in outcome.history.rounds)
    assert sorted(outcome.history.metrics) == sorted(config.evaluated) == [2, 3, 5, 6, 8]
    assert outcome.history.metrics[8]["accuracy"] > 0.85


def test_each_label_charges_its_own_ledger_and_stays_below_its_promise(grid, agreement, config, labels):
    outcome = train(grid, agreement, config)
    promised = {promise.label: promise for promise in outcome.history.promises}
    for label in labels:
        with Ledger(label.home.ledger_file) as ledger:
            spent = ledger.epsilon(config.delta)
            (evaluated,) = (event for event in ledger.spent() if isinstance(event, HeldOutCounts))
            assert evaluated.count == len(config.evaluated) == 3
            assert len([row for row in ledger.rows() if row.kind == "charge"]) == config.rounds + 1
        assert 0.9 * promised[label.home.name].epsilon < spent <= promised[label.home.name].epsilon


@pytest.mark.parametrize("balance", [Balance.LOSS, Balance.SAMPLING])
def test_balancing_classes_is_accounted_for_within_the_same_ceiling(grid, agreement, configured, labels, balance):
    config = configured(balance=balance)
    train(grid, agreement, config)
    for label in labels:
        with Ledger(label.home.ledger_file) as ledger:
            assert 0.9 * config.epsilon < ledger.epsilon(config.delta) <= config.epsilon


def test_artists_can_be_the_unit(grid, agreement, configured, labels):
    config = configured(unit=Unit.ARTIST, rounds=2)
    outcome = train(grid, agreement, config)
    assert not any(record.aborted for record in outcome.history.rounds)
    for label in labels:
        with Ledger(label.home.ledger_file) as ledger:
            (charged,) = (event for event in ledger.spent() if not isinstance(event, HeldOutCounts))
        assert charged.sample_rate == pytest.approx(config.batch_size / 30)  # 60 tracks of 30 artists


@pytest.mark.parametrize("optimizer", ["fedavg", "fedavgm", "fedadam", "fedyogi"])
def test_every_server_optimiser_gets_the_masked_mean(grid, agreement, configured, optimizer):
    rate = 1.0 if optimizer.startswith("fedavg") else 0.05
    config = configured(server_optimizer=optimizer, server_learning_rate=rate, epsilon=50.0, batch_size=48, rounds=5)
    outcome = train(grid, agreement, config)
    assert outcome.history.metrics[5]["accuracy"] > 0.6


@pytest.mark.parametrize("action", [Action.TRAIN, Action.CROSS_CHECK, Action.UNMASK])
def test_a_label_that_vanishes_at_any_point_is_recovered_around(grid, agreement, config, action):
    grid.lose = lambda label, sent: label == "label-2" and sent == action.value
    outcome = train(grid, agreement, config)
    assert not any(record.aborted for record in outcome.history.rounds)
    for record in outcome.history.rounds:
        assert ("label-2" in record.survivors) == (action is not Action.TRAIN)


def test_a_round_below_the_threshold_is_aborted_and_the_next_one_works(grid, agreement, config, labels):
    rounds = []

    def lose(label: str, action: str) -> bool:
        if action == Action.TRAIN and label == "label-1":
            rounds.append(action)
        return len(rounds) == 1 and action == Action.TRAIN and label in ("label-3", "label-4", "label-5")

    grid.lose = lose
    outcome = train(grid, agreement, config)
    first, *others = outcome.history.rounds
    assert first.aborted
    assert first.survivors == ()
    assert not any(record.aborted for record in others)
    with Ledger(labels[4].home.ledger_file) as ledger:  # what was spent on the aborted round stays spent
        assert len([row for row in ledger.rows() if row.kind == "charge"]) == config.rounds + 1


def test_a_run_with_too_few_labels_ends_with_a_clear_word(grid, agreement, config):
    grid.lose = lambda label, action: label != "label-1" and action == Action.ANNOUNCE
    with pytest.raises(RoundAborted, match="Only 1 labels take part, but the agreement needs 3"):
        train(grid, agreement, config)


def test_a_label_declines_by_its_policy_and_the_others_continue(grid, agreement, config, labels):
    text = labels[0].home.policy_file.read_text().replace("allow_non_private = false", "most_rounds = 2")
    labels[0].home.policy_file.write_text(text)
    grid.labels[0] = Label(labels[0].home)
    outcome = train(grid, agreement, config)
    assert outcome.history.refusals == {"label-1": "rounds"}
    assert len(outcome.history.promises) == 4


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"trainable": ("nothing",)}, RefusalReason.CONFIGURATION),
        ({"feature_spec": "0" * 64}, RefusalReason.CONFIGURATION),
        ({"family": "transformer"}, RefusalReason.FAMILY),
        ({"trainable": ("linear.",)}, None),
    ],
)
def test_a_label_declines_what_it_cannot_compute(agreement, config, labels, changes, reason):
    assert local_round.objection(config.changed(**changes), agreement, labels[0].policy) is reason


@pytest.mark.parametrize(
    ("trainable", "reason"),
    [
        (("discriminator.style.", "generator.style."), None),
        (("generator.",), RefusalReason.CONFIGURATION),  # audio moves nothing
        (("discriminator.",), RefusalReason.CONFIGURATION),  # and nothing follows
    ],
)
def test_what_would_fail_every_round_is_declined_before_it_costs_anything(
    grid, agreement, config, labels, trainable, reason
):
    spec = discovery.spec_of("generator", "gan")
    asked = config.changed(task="generator", family="gan", feature_spec=spec.digest, trainable=trainable)
    allowed = {name: frozenset({asked.task}) for name in ("tasks", "purposes")}
    policy = replace(labels[0].policy, families=frozenset({"gan"}), **allowed)
    assert local_round.objection(asked, agreement, policy) is reason
    if reason:
        with pytest.raises(ConfigurationError, match="trains none of the parameters of 'gan'"):
            train(grid, agreement, asked)
        for label in labels:
            with Ledger(label.home.ledger_file) as ledger:
                assert not ledger.rows()


@pytest.mark.parametrize("weaker", [{"epsilon": 8.5}, {"delta": 2e-5}, {"delta": 1.0}])
def test_a_label_that_promises_less_than_the_run_is_left_out(grid, agreement, config, monkeypatch, weaker):
    """Otherwise one label could make the release of all worthless, or, with δ = 1, impossible."""
    join = Participant.join

    def join_weakly(announcement, *, label, **values):
        return join(announcement, label=label, **(values | (weaker if label == "label-1" else {})))

    monkeypatch.setattr(Participant, "join", join_weakly)
    outcome = train(grid, agreement, config)
    assert [promise.label for promise in outcome.history.promises] == ["label-2", "label-3", "label-4", "label-5"]
    assert all("label-1" not in record.participants for record in outcome.history.rounds)


def test_a_run_without_privacy_needs_every_label_to_allow_it(grid, agreement, configured):
    with pytest.raises(RoundAborted, match="Only 0 labels"):
        train(grid, agreement, configured(private=False))


def test_a_second_run_beyond_the_lifetime_budget_is_declined(grid, agreement, config):
    train(grid, agreement, config)
    with pytest.raises(RoundAborted) as caught:
        train(grid, agreement, config)
    assert "lifetime ε" in caught.value.hint


def test_the_same_seed_gives_the_same_model_and_no_seed_another(federation, agreement, config, grid):
    def model(seed: int | None) -> bytes:
        for home in federation.homes:
            for known in (home.ledger_file, home.diary.file, *home.runs.glob("*.json")):
                known.unlink(missing_ok=True)
            Ledger.create(home.ledger_file)
        grid.labels[:] = [Label(home, simulation_seed=seed) for home in federation.homes]
        return train(grid, agreement, config.changed(ring_bits=32)).parameters.tobytes()

    # Stochastic rounding draws from the operating system's entropy even then, so that models agree up to the grid.
    first, again, other = (np.frombuffer(model(seed), np.float32) for seed in (1, 1, None))
    assert np.abs(first - again).max() < 1e-4 * np.abs(first).max()
    assert np.abs(first - other).max() > 1e-2 * np.abs(first).max()


def test_a_label_that_holds_nothing_out_trains_and_measures_nothing(grid, agreement, config, monkeypatch):
    prepare = trainer.prepare

    def prepared(home, config):
        found = prepare(home, config)
        return replace(found, holdout=None) if home.name == "label-3" else found

    monkeypatch.setattr(trainer, "prepare", prepared)
    history = train(grid, agreement, config).history
    assert all("label-3" in record.survivors for record in history.rounds)
    noise = history.metrics[3]["noise"]["tracks"]
    assert history.metrics[3]["tracks"] == pytest.approx(4 * HELD_OUT, abs=5 * noise)


@pytest.mark.parametrize("action", [Action.ROSTER, Action.NONCES])
def test_a_label_that_does_not_complete_the_set_up_is_left_behind(grid, agreement, config, action):
    grid.lose = lambda label, sent: sent == action.value and label == "label-2"
    history = train(grid, agreement, config).history
    assert [promise.label for promise in history.promises] == ["label-1", "label-3", "label-4", "label-5"]
    assert all(len(record.survivors) == 4 for record in history.rounds)
    announced = [label for label, sent, _ in grid.seen if sent == Action.ANNOUNCE.value]
    assert announced.count("label-1") == 3  # which versions it speaks, and two set-ups
    assert announced.count("label-2") == 2


def test_a_label_that_lies_is_left_out_and_named_in_history_and_diary(grid, agreement, config, federation, monkeypatch):
    unmask = Participant.unmask

    def lie(participant, request):
        shares = unmask(participant, request)
        if shares.label != "label-2" or request.round > 1:
            return shares
        fields = {name: getattr(shares, name) for name in ("run", "round", "survivors_digest", "label", "complaints")}
        return Shares.sign(participant._identity, **fields, values=(bytes(32), *shares.values[1:]))

    monkeypatch.setattr(Participant, "unmask", lie)
    history = train(grid, agreement, config).history
    assert history.left_out == {"label-2": "sent another share than it received"}
    assert history.rounds[0].liars == ("label-2",)
    assert history.rounds[0].aborted is None
    assert all("label-2" not in record.participants for record in history.rounds[1:])
    notes = [note for note in federation.homes[0].diary.notes() if note.what is What.LEFT_OUT]
    assert [note.details["labels"] for note in notes] == [["label-2"]]


def test_labels_that_do_not_follow_a_round_are_named(grid, agreement, config):
    """One label's copy of the first sum is changed on its way; it says so, and the round goes on without it."""

    def tamper(label, message):
        sums = message.content.array_records.get(SUMS, {})
        if label == "label-3" and "1" in sums:
            changed = sums["1"].numpy().copy()
            changed[-1] ^= 1
            sums["1"] = Array(changed)

    grid.tamper = tamper
    history = train(grid, agreement, config).history
    assert [record.unfollowed for record in history.rounds] == [(), ("label-3",), ("label-3",)]
    assert all(record.aborted is None for record in history.rounds)
    assert ["label-3" in record.survivors for record in history.rounds] == [True, False, False]


def test_a_label_that_has_lost_its_model_misses_one_round_and_begins_anew(grid, agreement, configured):
    home = grid.labels[3].home

    def tamper(label, message):
        if label == "label-4" and "1" in message.content.array_records.get(SUMS, {}) and not lost:
            (model,) = home.runs.glob("*.model")
            model.unlink()
            lost.append(model)

    lost: list[object] = []
    grid.tamper = tamper
    outcome = train(grid, agreement, configured(rounds=4))
    assert lost
    assert ["label-4" in record.survivors for record in outcome.history.rounds] == [True, False, True, True]
    assert home.diary.weights(outcome.run.hex()) == grid.labels[0].home.diary.weights(outcome.run.hex())


def test_a_label_that_complains_before_there_is_any_round_stops_nothing(grid, agreement, config, monkeypatch):
    answer = Label.answer

    def complain(label, frame, carried=None):
        if label.home.name == "label-2":
            raise UnfollowedParameters("of nothing")
        return answer(label, frame, carried)

    monkeypatch.setattr(Label, "answer", complain)
    assert len(train(grid, agreement, config.changed(rounds=1)).history.promises) == 4
