"""How a label answers an announcement: every reason to refuse, and what it has promised and written when it joins."""

from dataclasses import replace

import pytest

from sottovoce.errors import CatalogueError, ConfigurationError, LocalProtocolError, PrivacyError
from sottovoce.features.spec import View
from sottovoce.federation.identity import Identity
from sottovoce.federation.refusals import RefusalReason
from sottovoce.protocol.message import FORMER_VERSION, VERSION
from sottovoce.protocol.messages import Advert, Refusal
from sottovoce.protocol.violations import OutOfOrder, WrongAgreement, WrongRun
from sottovoce.run.records import Carried, OwnWords
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.budget.rows import Kind as RowKind
from sottovoce_client.data.dataset import TrackDataset
from sottovoce_client.data.preparation import Prepared
from sottovoce_client.home.confirmations import withdraw
from sottovoce_client.home.diary import What
from sottovoce_client.rounds import local_round, promises, trainer
from sottovoce_client.rounds.label import Label
from sottovoce_client.rounds.run_state import RunStates


def joined(here, run=None):
    """State of a run that the label has joined."""
    return Label.open(here.home.root)._opened.states.load(run or here.run)


def withdraw_two(here):
    withdraw(here.home, here.home.identity(), here.course.agreement.federation, here.course.agreement.members[1:3])


def refused(here, answer, reason, *, announcement=None):
    """Checks that a label refused a run, that nothing of it stays, and returns the diary's note on it."""
    announcement = announcement or here.message
    assert isinstance(answer, Refusal)
    assert answer.reason is reason
    assert (answer.run, answer.agreement, answer.label, answer.version) == (
        announcement.run,
        here.course.agreement.digest,
        here.home.name,
        announcement.version,
    )
    assert answer.is_signed_by(here.home.identity().public_key)
    assert not [row for row in here.rows() if row.run == announcement.run]
    assert not (here.home.runs / f"{announcement.run.hex()}.json").exists()
    (note,) = here.notes(What.REFUSED)
    assert note["reason"] == reason.value
    return note


def test_a_label_that_joins_has_promised_its_whole_plan_and_written_who_it_is_in_the_run(at):
    here = at("announce")
    advert = here.answer()
    state = joined(here)
    plan = state.plan
    (opened,) = here.rows()
    assert (opened.kind, opened.run) == (RowKind.OPEN, here.run)
    assert set(opened.events) == set(plan.whole_run)
    assert (advert.epsilon, advert.delta) == (plan.epsilon_ceiling, plan.delta) == (8.0, 1e-5)
    assert state.ledger == here.head()
    assert state.participant.advert == advert
    (note,) = here.notes(What.JOINED)
    assert (note["protocol"], note["federation"]) == (VERSION, here.course.agreement.federation)
    assert (note["epsilon"], note["delta"]) == (8.0, 1e-5)
    assert note["ledger"] == here.head().to_json()
    assert not here.notes(What.NO_TRACKS)


def test_a_run_without_privacy_is_joined_with_no_ceiling(at):
    here = at("announce", "without privacy")
    advert = here.answer()
    assert (advert.epsilon, advert.delta) == (float("inf"), 0.0)
    assert joined(here).plan is None


def test_the_promise_is_written_before_the_answer_and_the_state_before_it_too(at, monkeypatch):
    here = at("announce")
    with monkeypatch.context() as patch:
        patch.setattr(RunStates, "save", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            here.answer()
    assert [row.kind for row in here.rows()] == [RowKind.OPEN]
    assert isinstance(here.answer(), Advert)  # the promise of the first attempt is its own, and not stale
    assert [row.kind for row in here.rows()] == [RowKind.OPEN]


def test_a_run_under_another_agreement_is_not_even_refused(at):
    here = at("announce")
    with pytest.raises(WrongAgreement):
        here.answer(here.changed(agreement=bytes(32)))
    here.allow(families=["cnn"])
    with pytest.raises(WrongAgreement):
        here.answer(here.changed(agreement=bytes(32)))
    assert not here.rows()
    assert not here.notes(What.REFUSED)


def test_a_label_that_the_agreement_knows_by_another_key_answers_nothing(at):
    here = at("announce")
    here.home.identity_file.unlink()
    Identity.generate().save(here.home.identity_file)
    with pytest.raises(LocalProtocolError, match="another identity"):
        here.answer()
    assert not here.rows()


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"families": ["cnn"]}, RefusalReason.FAMILY),
        ({"tasks": ["generator"]}, RefusalReason.TASK),
        ({"most_rounds": 1}, RefusalReason.ROUNDS),
        ({"trust": ["distributed"]}, RefusalReason.TRUST),
        ({"least_unit": "artist"}, RefusalReason.PRIVACY),
        ({"least_participants": 5}, RefusalReason.PARTICIPANTS),
    ],
)
def test_what_the_policy_forbids_is_refused_in_one_word_even_where_others_are_unconfirmed(at, rules, reason):
    here = at("announce")
    here.allow(**rules)
    withdraw_two(here)
    note = refused(here, here.answer(), reason)
    assert (note["why"], note["hint"]) == ("", "")


def test_a_federation_with_too_few_confirmed_labels_is_refused(at):
    here = at("announce")
    withdraw_two(here)
    refused(here, here.answer(), RefusalReason.UNCONFIRMED)


def test_one_label_may_be_unconfirmed(at):
    here = at("announce")
    withdraw(here.home, here.home.identity(), here.course.agreement.federation, here.course.agreement.members[1:2])
    assert isinstance(here.answer(), Advert)


def test_a_version_that_the_policy_excludes_is_refused_in_that_version_and_its_people_read_the_rule(at):
    here = at("announce", "former")
    here.allow(oldest_protocol=VERSION)
    note = refused(here, here.answer(), RefusalReason.CONFIGURATION)
    assert f"requires {VERSION}" in note["why"]
    assert "oldest_protocol" in note["hint"]
    assert here.message.version == FORMER_VERSION


def test_the_oldest_version_that_the_policy_allows_is_joined(at):
    here = at("announce")
    here.allow(oldest_protocol=VERSION)
    assert isinstance(here.answer(), Advert)


@pytest.mark.parametrize(("oldest", "met"), [(0, VERSION), (VERSION, 0)])
def test_a_label_keeps_the_newest_version_in_which_it_has_met_the_coordinator(at, oldest, met):
    """Unless its policy names the oldest version: then that rule alone holds."""
    here = at("train 1")
    here.allow(oldest_protocol=oldest)
    announcement = here.course.announcement()
    here.answer(announcement)
    assert joined(here, announcement.run).participant.met == met


def test_a_label_that_never_met_the_coordinator_accepts_any_version(at):
    here = at("announce")
    here.answer()
    assert joined(here).participant.met == 0


def test_a_home_that_lacks_what_it_signed_is_refused(at):
    """The coordinator sends back the label's own advert of a run that this ledger does not hold."""
    here = at("announce")
    earlier = at("train 1").course.moments["roster"].message.adverts[0]
    note = refused(here, here.answer(carried=Carried(own=OwnWords(earlier.encode(), (1,)))), RefusalReason.UNAVAILABLE)
    assert "older copy" in note["why"]
    assert "restore" in note["hint"]


@pytest.mark.parametrize(
    ("broken", "error", "reason"),
    [
        ("plan", CatalogueError("It declares 0.", hint="Declare."), RefusalReason.CATALOGUE),
        ("plan", ConfigurationError("No."), RefusalReason.CATALOGUE),
        ("plan", PrivacyError("No noise suffices."), RefusalReason.PRIVACY),
        ("data", CatalogueError("Unreadable.", hint="Scan."), RefusalReason.CATALOGUE),
    ],
)
def test_a_plan_or_catalogue_that_fails_is_refused_before_anything_is_promised(at, monkeypatch, broken, error, reason):
    here = at("announce")

    def fail(*_):
        raise error

    monkeypatch.setattr(*((local_round, "plan_of") if broken == "plan" else (trainer, "prepare")), fail)
    note = refused(here, here.answer(), reason)
    assert (note["why"], note["hint"]) == (error.message, error.hint or "")


def test_a_run_that_the_budget_does_not_hold_is_refused(at):
    here = at("announce")
    here.allow(epsilon_lifetime=8.0)
    here.answer()
    second = here.course.announcement()
    note = refused(here, here.answer(second), RefusalReason.BUDGET, announcement=second)
    assert note["why"]


def test_promises_that_nothing_can_use_any_more_are_released_before_a_run_is_joined(at, monkeypatch):
    here = at("announce")
    here.allow(epsilon_lifetime=8.0)
    here.answer()
    now = (here.home.runs / f"{here.run.hex()}.json").stat().st_mtime
    late = now + 86_400 * (promises.LONGEST_SILENCE_DAYS + 1)
    monkeypatch.setattr(trainer.time, "time", lambda: late)
    second = here.course.announcement()
    assert isinstance(here.answer(second), Advert)
    with Ledger(here.home.ledger_file) as ledger:
        assert ledger.open_runs() == (second.run,)


def test_a_catalogue_without_a_fitting_track_is_no_reason_to_refuse_and_its_people_are_told(at, monkeypatch, caplog):
    here = at("announce")
    full = trainer.prepare(here.home, here.course.config).train
    monkeypatch.setattr(trainer, "prepare", lambda *_: Prepared(TrackDataset.empty(full.spec, View.SUMMARY), None))
    assert isinstance(here.answer(), Advert)
    assert here.notes(What.NO_TRACKS) == [{"round": 0}]
    assert "takes part with noise alone" in caplog.text


def test_a_set_up_that_others_broke_off_is_joined_again_with_new_keys_and_no_second_promise(at):
    here = at("roster")
    first = joined(here).participant.advert
    again = here.answer(here.of("announce"))
    assert again.public_key != first.public_key
    assert joined(here).participant.advert == again
    assert [row.kind for row in here.rows()] == [RowKind.OPEN]
    assert len(here.notes(What.JOINED)) == 1


def test_a_set_up_in_another_version_is_noted_since_releases_are_compared_with_it(at):
    here = at("roster")
    again = here.answer(here.of("announce", version=FORMER_VERSION))
    assert again.version == FORMER_VERSION
    first, second = here.notes(What.JOINED)
    assert (first["protocol"], second["protocol"]) == (VERSION, FORMER_VERSION)
    assert {**first, "protocol": FORMER_VERSION} == second
    assert second["ledger"] == here.head().to_json()


def test_a_run_that_is_set_up_is_not_joined_again_nor_is_another_one_under_its_id(at):
    here = at("train 1")
    with pytest.raises(OutOfOrder):
        here.answer(here.of("announce"))
    here = at("roster")
    other = here.course.announcement(here.course.config.changed(rounds=3))
    with pytest.raises(WrongRun):
        here.answer(replace(other, run=here.run))
