"""What a label does with each message: what is on its disk before the answer leaves, and what its people can read."""

from dataclasses import replace

import pytest

from sottovoce.errors import LocalProtocolError
from sottovoce.federation.refusals import RefusalReason
from sottovoce.protocol.message import SPOKEN, VERSION
from sottovoce.protocol.messages import Advert, Shares, VersionsRequest, decode
from sottovoce.protocol.violations import (
    Downgraded,
    OutOfOrder,
    TooFewSurvivors,
    UnfollowedParameters,
    WrongAgreement,
)
from sottovoce.run.records import Carried
from sottovoce_client.budget.rows import Kind as RowKind
from sottovoce_client.home.confirmations import withdraw
from sottovoce_client.home.diary import What
from sottovoce_client.rounds import local_round, trainer
from sottovoce_client.rounds.label import Label
from sottovoce_client.rounds.opened_home import TooFewConfirmed
from sottovoce_client.rounds.run_state import RunStates, Witnessed

FOLLOWING = ("roster", "nonces", "pairing", "cross-check 1", "unmask 1")
"""Messages that are answered without training."""


@pytest.mark.parametrize("oldest", [0, VERSION])
def test_a_label_states_the_versions_that_its_policy_allows_under_its_own_name(at, oldest):
    here = at("announce")
    here.allow(oldest_protocol=oldest)
    agreement = here.course.agreement
    said = here.answer(VersionsRequest(here.run, agreement.digest))
    assert (said.run, said.agreement, said.label) == (here.run, agreement.digest, here.home.name)
    assert (said.oldest, said.newest) == (oldest or SPOKEN[0], VERSION)
    assert said.is_signed_by(here.home.identity().public_key)
    with pytest.raises(WrongAgreement):
        here.answer(VersionsRequest(here.run, bytes(32)))


@pytest.mark.parametrize("name", FOLLOWING)
def test_a_message_is_answered_only_once_its_effect_is_on_the_disk(at, name, monkeypatch):
    """Else a label that crashes could answer again, from the state before."""
    here = at(name)
    with monkeypatch.context() as patch:
        patch.setattr(RunStates, "save", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            here.answer()
    here.answer()
    with pytest.raises(OutOfOrder):
        here.answer()


@pytest.mark.parametrize("name", FOLLOWING)
def test_what_is_not_training_is_timed_as_masking_of_its_round(at, name):
    here = at(name)
    before = here.timed()
    here.answer()
    assert here.timed()[len(before) :] == [(getattr(here.message, "round", 0), "masking")]


def test_a_run_whose_members_are_not_confirmed_is_not_set_up(at):
    here = at("roster")
    withdraw(here.home, here.home.identity(), here.course.agreement.federation, here.course.agreement.members[1:3])
    with pytest.raises(TooFewConfirmed):
        here.answer()


def test_a_label_that_has_withdrawn_others_still_unmasks_what_it_has_reported(at):
    here = at("unmask 1")
    withdraw(here.home, here.home.identity(), here.course.agreement.federation, here.course.agreement.members[1:3])
    assert isinstance(here.answer(), Shares)


def test_a_downgrade_is_noted_and_leaves_the_set_up_as_it_was(at):
    """The label has met this coordinator in a newer version, and all members speak that."""
    here = at("nonces", "former")
    state = here.state()
    state.participant._met = VERSION
    with Label.open(here.home.root)._opened.states.joined(here.run):
        Label.open(here.home.root)._opened.states.save(here.run, state)
    with pytest.raises(Downgraded):
        here.answer()
    assert here.notes(What.ROUND_DECLINED) == [{"round": 0, "reason": RefusalReason.PROTOCOL.value}]
    assert here.state().participant.to_bytes() == state.participant.to_bytes()


@pytest.mark.parametrize("name", ["cross-check 1", "unmask 1"])
def test_a_label_remembers_how_many_survivors_it_signed_or_unmasked(at, name):
    here = at(name)
    state = here.state()
    state.witnessed = {1: Witnessed(4)}
    Label.open(here.home.root)._opened.states.save(here.run, state)
    here.answer()
    assert here.state().witnessed == {1: Witnessed(4, survivors=4)}


def test_a_policy_that_wants_more_survivors_holds_for_a_round_that_is_under_way(at):
    here = at("cross-check 1")
    here.allow(least_participants=4)
    with pytest.raises(TooFewSurvivors):
        here.answer(here.changed(survivors=here.message.survivors[:3]))
    here.answer()  # all four


def test_a_sealed_share_that_does_not_open_is_complained_of_to_the_labels_own_people_too(at):
    here = at("unmask 1")
    first, *others = here.message.boxes
    damaged = here.answer(here.changed(boxes=(replace(first, sealed=bytes(len(first.sealed))), *others)))
    assert [each.label for each in damaged.complaints] == ["label-2"]
    assert here.notes(What.COMPLAINED) == [{"round": 1, "labels": ["label-2"]}]


def test_shares_that_open_are_no_reason_to_complain(at):
    here = at("unmask 1")
    assert not here.answer().complaints
    assert not here.notes(What.COMPLAINED)


@pytest.mark.parametrize("name", ["unmask 2", "cross-check 3"])
def test_a_run_goes_on_until_its_evaluation_is_unmasked(at, name):
    here = at(name)
    here.answer()
    assert not here.notes(What.OVER)
    assert here.rows()[-1].kind is not RowKind.CLOSE
    assert here.state()


def test_with_its_evaluation_unmasked_a_run_is_over_and_its_keys_are_gone(at):
    here = at("unmask 3")
    here.answer()
    closed = here.rows()[-1]
    assert (closed.kind, closed.run) == (RowKind.CLOSE, here.run)
    assert here.notes(What.OVER) == [{"after": here.course.config.rounds, "ledger": here.head().to_json()}]
    assert list(here.home.runs.iterdir()) == []


def test_the_end_of_a_run_is_followed_from_the_sums_that_come_with_it(at):
    here = at("evaluate 3")
    over = here.course.over()
    with pytest.raises(UnfollowedParameters):  # the label lacks the last sum, and none comes
        here.answer(over, carried=Carried())
    assert here.answer(over, carried=Carried(sums={2: here.course.sums[2]})) == over
    assert here.notes(What.FOLLOWED)
    assert here.rows()[-1].kind is RowKind.CLOSE


def test_a_message_that_nothing_comes_with_is_checked_like_any_other(at):
    here = at("train 2")
    label = Label.open(here.home.root)
    for message in (here.message, here.course.over()):
        with pytest.raises(UnfollowedParameters):
            label.answer(message.encode())
    assert isinstance(decode(label.answer(here.course.announcement().encode())), Advert)
    assert here.charges().keys() == {1}


def test_a_run_that_nobody_joined_is_answered_by_an_error_and_leaves_no_lock(at):
    here = at("announce")
    for name in (*FOLLOWING, "train 1"):
        with pytest.raises(LocalProtocolError, match="not joined"):
            here.answer(here.of(name))
    assert list(here.home.runs.iterdir()) == []


def test_a_label_that_stays_running_prepares_its_tracks_once(at, monkeypatch):
    here = at("announce")
    prepared, calls = trainer.prepare, []
    monkeypatch.setattr(trainer, "prepare", lambda *arguments: calls.append(arguments) or prepared(*arguments))
    label = Label.open(here.home.root)
    other = here.course.config.changed(rounds=3)
    for config in (here.course.config, here.course.config, other, other):
        label.answer(here.course.announcement(config).encode())
    assert [config for _, config in calls] == [here.course.config, other]
    assert {home.name for home, _ in calls} == {here.home.name}


def test_a_simulations_draws_repeat_and_differ_from_round_to_round(at):
    here = at("train 1")
    label = Label.open(here.home.root, simulation_seed=5)._trainer()

    def drawn(trainer, number):
        return trainer._randomness(number).words(4).tolist()

    assert drawn(label, 1) == drawn(label, 1) != drawn(label, 2)
    assert drawn(Label.open(here.home.root, simulation_seed=6)._trainer(), 1) != drawn(label, 1)
    assert label._randomness(1).simulated
    assert not Label.open(here.home.root)._trainer()._randomness(1).simulated


@pytest.mark.parametrize("seed", [5, None])
def test_a_label_trains_with_what_its_seed_draws_and_without_one_with_what_nobody_draws_again(at, monkeypatch, seed):
    update, drawn, twice = local_round.update_of, [], (at("train 1"), at("train 1"))

    def kept(*arguments):
        drawn.append(update(*arguments))
        return drawn[-1]

    monkeypatch.setattr(local_round, "update_of", kept)
    for here in twice:
        here.answer(seed=seed)
    assert (drawn[0] == drawn[1]).all() == (seed is not None)
