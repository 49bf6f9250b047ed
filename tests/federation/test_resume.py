"""A crashed coordinator resumes the same run: no round is repeated, and model and optimiser are preserved."""

from dataclasses import replace

import numpy as np
import pytest

from sottovoce.errors import ConfigurationError
from sottovoce.models.trainable import trainable_mask
from sottovoce.privacy.distributed_gaussian import DistributedDiscreteGaussian
from sottovoce.protocol.messages import Announcement
from sottovoce.run.configuration import BandedFactorisation, DistributedNoise
from sottovoce.run.decoded_sum import SumDecoder
from sottovoce.run.global_model import GlobalModel
from sottovoce.run.records import PARAMETERS, SUMS, Action
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.rounds.label import Label
from sottovoce_server.flower.run_app import train
from sottovoce_server.rounds.checkpoint import Keeper, Snapshot


class Crash(Exception):
    """The coordinator's process is gone."""


@pytest.fixture
def keeper(tmp_path):
    (tmp_path / "run").mkdir()
    return Keeper(tmp_path / "run")


def crash_in(grid, round_number, action):
    """Stop the coordinator in the n-th round, when it sends its first message of a kind."""
    rounds = []
    send = grid.send_and_receive

    def sending(messages, *, timeout=None):
        sent = list(messages)
        kinds = {message.metadata.message_type for message in sent}
        rounds.extend(kind for kind in kinds if kind == Action.TRAIN)
        if action in kinds and len(rounds) == round_number:
            raise Crash
        return send(sent, timeout=timeout)

    grid.send_and_receive = sending
    return lambda: setattr(grid, "send_and_receive", send)


def start(grid, agreement, config, keeper, **more):
    announcement = more.pop("announcement", None) or Announcement.of(agreement, config)
    return announcement, lambda **again: train(
        grid, agreement, config, announcement=announcement, keeper=keeper, **more, **again
    )


def model_of(snapshot, announcement, agreement):
    config = announcement.config
    known = {"run": announcement.run, "labels": len(agreement.members), "trainable": trainable_mask(config)}
    return GlobalModel.from_bytes(snapshot.model, config, **known)


def charged(label):
    with Ledger(label.home.ledger_file) as ledger:
        return len([row for row in ledger.rows() if row.kind == "charge"])


@pytest.mark.parametrize("action", [Action.TRAIN, Action.CROSS_CHECK, Action.UNMASK])
def test_a_lost_round_is_not_repeated_and_the_others_follow(grid, agreement, config, keeper, labels, action):
    _, go = start(grid, agreement, config, keeper)
    repair = crash_in(grid, 2, action)
    with pytest.raises(Crash):
        go()
    repair()
    outcome = go(resume=True)
    assert [record.number for record in outcome.history.rounds] == [1, 2, 3]
    assert [bool(record.aborted) for record in outcome.history.rounds] == [False, True, False]
    assert sorted(outcome.history.metrics) == [2, 3]
    assert len(outcome.history.promises) == 5
    assert all(charged(label) == (3 if action is Action.TRAIN else 4) for label in labels)


def test_the_model_extends_where_it_was(grid, agreement, config, keeper):
    announcement, go = start(grid, agreement, config, keeper)
    repair = crash_in(grid, 3, Action.TRAIN)
    with pytest.raises(Crash):
        go()
    kept, started = keeper.load()
    assert started == 3
    parameters = model_of(kept, announcement, agreement).parameters
    assert np.abs(parameters).max() > 0
    repair()
    # The third and last round is lost: the model is the one after the second.
    np.testing.assert_array_equal(go(resume=True).parameters, parameters)


@pytest.mark.parametrize("optimizer", ["fedavgm", "fedadam", "fedyogi"])
def test_the_optimiser_keeps_its_momentum(grid, agreement, configured, keeper, optimizer):
    config = configured(server_optimizer=optimizer, server_learning_rate=0.05)
    announcement, go = start(grid, agreement, config, keeper)
    repair = crash_in(grid, 2, Action.TRAIN)
    with pytest.raises(Crash):
        go()
    before = model_of(keeper.load()[0], announcement, agreement)._optimizer.state()
    assert before
    repair()
    go(resume=True)
    after = model_of(keeper.load()[0], announcement, agreement)._optimizer.state()
    for name, old in before.items():
        # Had it begun anew, it would hold nothing of what it held.
        assert not np.array_equal(after[name], old)
        assert np.corrcoef(after[name], old)[0, 1] > 0.2


def test_a_final_evaluation_that_reached_nobody_is_repeated_after_resuming(grid, agreement, config, keeper):
    _, go = start(grid, agreement, config, keeper)
    repair = crash_in(grid, 3, Action.EVALUATE)
    with pytest.raises(Crash):
        go()
    repair()
    outcome = go(resume=True)
    assert not any(record.aborted for record in outcome.history.rounds)
    assert sorted(outcome.history.metrics) == [1, 2, 3]


def test_a_run_that_broke_off_before_joining_has_nothing_to_resume(grid, agreement, config, keeper):
    _, go = start(grid, agreement, config, keeper)
    with pytest.raises(ConfigurationError, match="before its labels had joined"):
        go(resume=True)


def test_a_snapshot_reads_back(grid, agreement, config, keeper):
    announcement, go = start(grid, agreement, config, keeper)
    outcome = go()
    kept, _ = keeper.load()
    assert Snapshot.from_bytes(kept.to_bytes()).to_bytes() == kept.to_bytes()
    ended = replace(kept, history=outcome.history)
    assert Snapshot.from_bytes(ended.to_bytes()) == ended
    np.testing.assert_array_equal(model_of(kept, announcement, agreement).parameters, outcome.parameters)


@pytest.mark.parametrize("damage", [b"", b"x" * 100, b"\x08" + bytes(30)])
def test_a_damaged_checkpoint_is_refused(keeper, damage):
    keeper._snapshot_file.write_bytes(damage)
    with pytest.raises(ConfigurationError, match="damaged"):
        keeper.load()


def test_a_checkpoint_of_the_former_version_is_refused_with_the_way_out(grid, agreement, config, keeper):
    """It kept no sums, without which no label follows."""
    _, go = start(grid, agreement, config, keeper)
    go()
    data = keeper._snapshot_file.read_bytes()
    assert data.count(b'"version":3') == 1
    keeper._snapshot_file.write_bytes(data.replace(b'"version":3', b'"version":2'))
    with pytest.raises(ConfigurationError, match="has version 2; this release reads version 3") as caught:
        keeper.load()
    assert "start a new one" in caught.value.hint


def test_a_label_that_missed_rounds_gets_the_sums_that_it_lacks_after_both_sides_have_restarted(
    grid, agreement, configured, keeper
):
    """One label is away for two rounds, in which the coordinator crashes; then it follows to the same model."""
    config = configured(rounds=5)
    away = {"label-2"}
    grid.lose = lambda label, action: label in away and action in (Action.TRAIN, Action.PREPARE)
    asked = []

    def tamper(label, message):
        if message.metadata.message_type == Action.TRAIN:
            records = message.content.array_records
            asked.append((label, sorted(records.get(SUMS, {})), PARAMETERS in records))

    grid.tamper = tamper
    announcement, go = start(grid, agreement, config, keeper)
    repair = crash_in(grid, 3, Action.CROSS_CHECK)
    with pytest.raises(Crash):
        go()
    repair()
    away.clear()
    grid.labels[:] = [Label(label.home) for label in grid.labels]
    asked.clear()
    outcome = go(resume=True)
    assert [bool(record.aborted) for record in outcome.history.rounds] == [False, False, True, False, False]
    assert outcome.history.rounds[3].survivors == tuple(f"label-{number}" for number in range(1, 6))
    assert not any(record.unfollowed for record in outcome.history.rounds)
    # Its report of round 1 was lost, so that the coordinator does not know that it has the first parameters.
    assert ("label-2", ["1", "2", "3"], True) in asked
    assert ("label-1", ["2", "3"], False) in asked
    weights = {label.home.diary.weights(announcement.run.hex()) for label in grid.labels}
    assert len(weights) == 1
    assert None not in weights


def test_the_decoder_of_shared_noise_keeps_its_earlier_rounds_and_clip(configured):
    for distributed in (
        DistributedNoise(3, 1.0, 1.0, banded=BandedFactorisation(4, (4, 2, 1))),
        DistributedNoise(3, 1.0, 0.5, clip_quantile=0.5),
    ):
        config = configured(distributed=distributed, local_steps=1, rounds=6)
        grid = DistributedDiscreteGaussian.of(config, 40, 5)
        random = np.random.default_rng(0)
        sums = [random.integers(-1000, 1000, grid.dimension) for _ in range(5)]
        straight, broken = SumDecoder(config, grid, bytes(16)), SumDecoder(config, grid, bytes(16))
        for number, total in enumerate(sums, start=1):
            expected = straight.update(total, number, 5)
            again = SumDecoder(config, grid, bytes(16))
            again.restore(broken.state())
            broken = again
            np.testing.assert_array_equal(broken.update(total, number, 5), expected)
        assert broken.clip == straight.clip
