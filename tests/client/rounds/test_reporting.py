"""A label in a round: what it refuses, what it has paid before it trains, and what is in the vector that it masks."""

import numpy as np
import pytest

from sottovoce.errors import LedgerError
from sottovoce.features.spec import View
from sottovoce.federation.refusals import RefusalReason
from sottovoce.models import discovery
from sottovoce.privacy.events import Gaussian, NonPrivate
from sottovoce.privacy.held_out import COUNTER_OFFSET
from sottovoce.protocol.layout import VectorLayout
from sottovoce.protocol.message import VERSION
from sottovoce.protocol.messages import Kind
from sottovoce.protocol.violations import (
    RemoteProtocolError,
    StaleRound,
    TooFewParticipants,
    UnfollowedParameters,
    UnplannedRound,
    WrongVector,
)
from sottovoce.run.records import Carried
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.data.dataset import TrackDataset
from sottovoce_client.data.preparation import Prepared
from sottovoce_client.home.confirmations import withdraw
from sottovoce_client.home.diary import What
from sottovoce_client.home.policy import Policy
from sottovoce_client.rounds import local_round, trainer
from sottovoce_client.rounds.opened_home import TooFewConfirmed
from sottovoce_client.rounds.run_state import RunStates, Witnessed
from sottovoce_client.rounds.trainer import NotAllowedAnyMore, OutsideHours
from sottovoce_client.training.evaluation import measure


def counters(here, vector):
    """What a vector carries beside the update."""
    config, request = here.course.config, here.message
    layout = VectorLayout.for_round(config, request.kind, here.course.model.coordinates, 7, len(request.participants))
    return layout.decode(vector, 1).counters


@pytest.fixture
def declined(at):
    """Checks that a label declined a round in its own words, and that it cost nothing."""

    def check(here, error, reason=None, message=None, **options):
        before, state = here.charges(), here.state().participant.to_bytes()
        noted = len(here.notes(What.ROUND_DECLINED))
        with pytest.raises(error):
            here.answer(message, **options)
        number = (message or here.message).round
        expected = [] if reason is None else [{"round": number, "reason": reason.value}]
        assert here.notes(What.ROUND_DECLINED)[noted:] == expected
        assert here.charges() == before
        assert here.state().participant.to_bytes() == state

    return check


def test_rounds_and_their_evaluations_are_charged_as_planned_the_class_counts_once(at):
    here = at("unmask 3")
    plan = here.state().plan
    counts, training = plan.events(1)
    (evaluation,) = plan.evaluation()
    assert isinstance(counts, Gaussian)
    assert {number: set(events) for number, events in here.charges().items()} == {
        1: {counts, training},
        2: {training, evaluation},
        3: {evaluation},
    }


@pytest.mark.parametrize("name", ["train 1", "train 2", "evaluate 3"])
def test_each_round_charges_what_it_does_and_no_other_round(at, name):
    here, end = at(name), at("unmask 3")
    before = here.charges()
    here.answer()
    number = here.message.round
    assert here.charges() == {**before, number: end.charges()[number]}
    assert here.state().ledger == here.head()


@pytest.mark.parametrize("name", ["train 1", "train 2", "evaluate 3"])
def test_a_run_without_evaluations_charges_its_training_alone(at, name):
    here = at(name, "without evaluations")
    before = here.charges()
    here.answer()
    assert here.state().plan.evaluations is None
    trained = {} if name == "evaluate 3" else {here.message.round: here.state().plan.events(1)}
    assert here.charges() == {**before, **trained}


@pytest.mark.parametrize("name", ["train 1", "train 2", "evaluate 3"])
def test_with_correlated_noise_the_first_round_pays_for_the_whole_run(at, name):
    here = at(name, "banded")
    here.answer()
    charges = here.charges()
    assert set(charges[1]) == set(here.state().plan.whole_run)
    assert all(events == () for number, events in charges.items() if number > 1)
    assert 3 not in charges


@pytest.mark.parametrize("name", ["train 1", "train 2"])
def test_with_noise_of_all_labels_a_round_charges_its_part_of_the_sum(at, name):
    here = at(name, "distributed")
    here.answer()
    plan, number = here.state().plan, here.message.round
    expected = {*plan.events(1), *(plan.evaluation() if number == 2 else ())}
    assert set(here.charges()[number]) == expected


@pytest.mark.parametrize("name", ["train 1", "train 2", "evaluate 3"])
def test_a_run_without_privacy_is_recorded_as_such_and_its_evaluation_costs_nothing_more(at, name):
    here = at(name, "without privacy")
    here.answer()
    trained = {number: (NonPrivate(),) for number in (1, 2) if number <= here.message.round}
    assert here.charges() == trained


def test_a_run_without_privacy_of_a_single_step_is_not_taken_for_one_that_is_paid_at_once(at):
    here = at("train 1", "one step without privacy")
    here.answer()
    assert here.charges() == {1: (NonPrivate(),)}


def test_the_class_counts_are_drawn_in_the_first_round_and_kept(at):
    here = at("train 1")
    assert here.state().histogram is None
    here.answer()
    first = here.state().histogram
    assert len(first) == 2
    assert first != [20.0, 10.0]  # noised
    later = at("train 2")
    before = later.state().histogram
    later.answer()
    assert later.state().histogram == before


def test_a_run_that_does_not_balance_counts_no_classes(at):
    here = at("train 1", "without evaluations")
    here.answer()
    assert here.state().histogram is None


def test_a_round_is_paid_before_anything_is_computed_from_the_tracks(at, monkeypatch):
    here = at("train 1")

    def fail(*_):
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(local_round, "update_of", fail)
        with pytest.raises(OSError, match="killed"):
            here.answer()
    assert here.charges().keys() == {1}
    state = here.state()
    assert state.ledger == here.head()
    assert state.histogram is not None  # it is drawn once, whatever happens
    with pytest.raises(StaleRound):  # and the round is accepted once
        here.answer()


def test_an_evaluation_is_paid_before_it_is_computed(at, monkeypatch):
    here = at("evaluate 3")

    def fail(*_):
        raise OSError("killed")

    monkeypatch.setattr(local_round, "counters_of", fail)
    with pytest.raises(OSError, match="killed"):
        here.answer()
    assert here.charges().keys() == {1, 2, 3}


def test_a_round_that_cannot_be_charged_is_not_trained_and_stays_accepted(at, monkeypatch):
    here = at("train 1")

    def fail(*_):
        raise LedgerError("locked")

    trained = []
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "charge", fail)
        patch.setattr(local_round, "update_of", lambda *arguments: trained.append(arguments))
        with pytest.raises(LedgerError):
            here.answer()
    assert not trained
    assert here.state().witnessed == {1: Witnessed(4)}
    with pytest.raises(StaleRound):
        here.answer()


def test_a_report_leaves_once_its_state_is_on_the_disk(at, monkeypatch):
    """Four writes: the model, that the round is accepted, that it is paid, and the secrets that unmask it."""
    here = at("train 1")
    save, saved = RunStates.save, []
    monkeypatch.setattr(RunStates, "save", lambda *arguments: saved.append(save(*arguments)))
    here.answer()
    assert len(saved) == 3
    signature = here.answer(here.of("cross-check 1"))
    assert signature.round == 1


@pytest.mark.parametrize("name", ["train 1", "train 2", "evaluate 3"])
def test_the_followed_model_is_kept_and_the_last_ones_weights_are_noted_for_the_release(at, name):
    here = at(name)
    here.answer()
    assert (here.home.runs / f"{here.run.hex()}.model").exists()
    weights = local_round.weights_digest(here.course.model.parameters, here.course.config)
    assert here.notes(What.FOLLOWED) == ([{"weights": weights}] if name == "evaluate 3" else [])


def test_the_next_round_needs_only_the_sum_that_the_label_lacks(at):
    here = at("train 2")
    assert set(here.moment.carried.sums) == {1}
    assert here.moment.carried.first is None
    here.answer()
    assert here.state().witnessed == {2: Witnessed(4)}


@pytest.mark.parametrize(
    ("name", "stages"),
    [("train 1", ["training", "evaluation", "masking"]), ("evaluate 3", ["evaluation", "masking"])],
)
def test_the_stages_of_a_round_are_timed_by_name(at, name, stages):
    here = at(name)
    before = here.timed()
    here.answer()
    assert here.timed()[len(before) :] == [(here.message.round, stage) for stage in stages]


def test_what_was_not_charged_is_not_measured(at, reported):
    """The first round starts from no trained model: its counters are those of a label without held-out tracks."""
    here = at("train 1")
    here.answer()
    assert (counters(here, reported[-1]) == COUNTER_OFFSET).all()
    later = at("train 2")
    later.answer()
    assert (counters(later, reported[-1]) != COUNTER_OFFSET).any()


def test_without_privacy_held_out_tracks_are_counted_exactly(at, reported):
    here = at("evaluate 3", "without privacy")
    here.answer()
    found = counters(here, reported[-1]) - COUNTER_OFFSET
    prepared = trainer.prepare(here.home, here.course.config)
    family = discovery.family("style", "svm")
    assert (found == measure(family, here.course.model.parameters, prepared.holdout, here.course.config)).all()


def test_a_label_that_holds_nothing_out_reports_noise_alone(at, reported, monkeypatch):
    here = at("evaluate 3", "without privacy")
    train = trainer.prepare(here.home, here.course.config).train
    monkeypatch.setattr(trainer, "prepare", lambda *_: Prepared(train, None))
    here.answer()
    assert (counters(here, reported[-1]) == COUNTER_OFFSET).all()


def test_an_emptied_catalogue_takes_part_and_its_people_read_since_which_round(at, monkeypatch, caplog):
    here = at("train 2")
    full = trainer.prepare(here.home, here.course.config).train
    monkeypatch.setattr(trainer, "prepare", lambda *_: Prepared(TrackDataset.empty(full.spec, View.SUMMARY), None))
    here.answer()
    assert here.notes(What.NO_TRACKS) == [{"round": 2}]
    assert "takes part with noise alone" in caplog.text


def test_a_full_catalogue_is_nothing_to_tell(at, caplog):
    here = at("train 1")
    here.answer()
    assert not here.notes(What.NO_TRACKS)
    assert not caplog.text


def test_labels_that_the_coordinator_left_out_are_noted(at):
    here = at("train 2")
    here.answer(here.changed(left_out=("label-9",)))
    assert here.notes(What.LEFT_OUT) == [{"round": 2, "labels": ["label-9"]}]
    here = at("train 2")
    here.answer()
    assert not here.notes(What.LEFT_OUT)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("train 2", {"round": 3}),  # two are planned
        ("train 2", {"kind": Kind.EVALUATE}),
        ("train 1", {"kind": Kind.EVALUATE}),
        ("train 1", {"kind": Kind.EVALUATE, "round": 3}),  # nothing was trained
        ("evaluate 3", {"round": 4}),
        ("evaluate 3", {"round": 1}),
        ("evaluate 3", {"kind": Kind.TRAIN}),
    ],
)
def test_a_round_that_is_not_planned_is_declined(at, declined, name, changes):
    here = at(name)
    declined(here, UnplannedRound, message=here.changed(**changes))


@pytest.mark.parametrize("kind", ["local", "banded", "without privacy"])
def test_the_rounds_that_are_planned_are_answered(at, kind):
    for name in ("train 1", "train 2", "evaluate 3"):
        assert at(name, kind).answer().label == "label-1"


def test_a_round_of_fewer_labels_than_the_policy_wants_is_declined(at, declined):
    here = at("train 1")
    fewer = here.changed(participants=here.message.participants[:3])
    here.allow(least_participants=4)
    declined(here, TooFewParticipants, RefusalReason.PARTICIPANTS, fewer)
    here.answer()  # four are enough


def test_a_round_of_labels_that_are_not_confirmed_is_declined(at, declined):
    here = at("train 1")
    agreement = here.course.agreement
    withdraw(here.home, here.home.identity(), agreement.federation, agreement.members[1:2])
    unknown = here.changed(participants=here.message.participants[:3])
    here.allow(least_confirmed=2)
    declined(here, TooFewConfirmed, RefusalReason.UNCONFIRMED, unknown)
    here.answer()  # the whole round has two others that are confirmed


def test_a_round_outside_the_policys_hours_is_declined(at, declined, monkeypatch):
    here = at("train 1")
    monkeypatch.setattr(Policy, "awake", lambda policy, now=None: False)
    declined(here, OutsideHours, RefusalReason.HOURS)


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"tasks": ["generator"]}, RefusalReason.TASK),
        ({"purposes": ["generator"]}, RefusalReason.PURPOSE),
        ({"families": ["cnn"]}, RefusalReason.FAMILY),
        ({"trust": ["distributed"]}, RefusalReason.TRUST),
        ({"least_unit": "artist"}, RefusalReason.PRIVACY),
        ({"most_rounds": 1}, RefusalReason.ROUNDS),
        ({"largest_model": 1}, RefusalReason.MODEL_SIZE),
        ({"epsilon_per_run": 7.9}, RefusalReason.PRIVACY),
        ({"delta_max": 1e-6}, RefusalReason.PRIVACY),
        ({"tasks": ["generator"], "epsilon_per_run": 7.9}, RefusalReason.TASK),
    ],
)
def test_a_policy_that_became_stricter_holds_from_the_next_round_on(at, declined, rules, reason):
    here = at("train 2")
    here.allow(**rules)
    declined(here, NotAllowedAnyMore, reason)


@pytest.mark.parametrize(
    ("rules", "reason"), [({}, RefusalReason.CONFIGURATION), ({"tasks": ["generator"]}, RefusalReason.TASK)]
)
def test_a_version_that_the_policy_no_longer_allows_is_declined(at, declined, rules, reason):
    here = at("train 2", "former")
    here.allow(oldest_protocol=VERSION, **rules)
    declined(here, NotAllowedAnyMore, reason)


def test_a_policy_that_became_stricter_but_still_allows_the_run_changes_nothing(at):
    here = at("train 2")
    here.allow(oldest_protocol=VERSION, epsilon_per_run=8.0, delta_max=1e-5, most_rounds=2, least_participants=4)
    assert here.answer().round == 2


def test_a_vector_of_another_length_is_refused_before_the_round_is_accepted(at, declined):
    here = at("train 1")
    declined(here, WrongVector, message=here.changed(elements=here.message.elements + 1))


def test_a_model_that_does_not_follow_is_noted_and_declined(at, declined):
    here = at("train 1")
    unfollowed = RefusalReason.UNFOLLOWED
    declined(here, UnfollowedParameters, unfollowed, here.changed(parameters_digest=bytes(32)))
    declined(here, UnfollowedParameters, unfollowed, carried=Carried(np.ones_like(here.moment.carried.first)))
    declined(here, UnfollowedParameters, unfollowed, carried=Carried(sums=here.moment.carried.sums))
    here.answer()


def test_a_round_that_has_taken_place_is_refused_before_what_comes_with_it_is_read(at, declined):
    here = at("train 2")
    here.answer()
    declined(here, StaleRound, carried=Carried(sums={1: b"no sum"}))


def test_a_round_of_another_run_or_set_up_is_refused(at):
    here = at("train 1")
    with pytest.raises(RemoteProtocolError):
        here.answer(here.changed(session=bytes(32)))
    assert not here.charges()
