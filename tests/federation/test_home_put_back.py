"""Promise: a label whose whole home was put back takes part in nothing, since its own signed words contradict it.

The attack: an older ledger together with the run states and the diary of its time contradicts nothing in the home, and
what was spent since could be spent again.
"""

import shutil
from dataclasses import replace

import pytest
from flwr.app import ConfigRecord, RecordDict

from sottovoce.federation.identity import Identity
from sottovoce.federation.refusals import RefusalReason
from sottovoce.protocol.aggregator import Aggregator
from sottovoce.protocol.messages import Advert, Announcement, Refusal, decode
from sottovoce.protocol.violations import WrongParameters
from sottovoce.run.records import ADVERT, FRAME, RECORD, ROUNDS, Action, Carried, OwnWords
from sottovoce_client.budget.account import account_of
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.budget.rows import THE_REST, Kind
from sottovoce_client.flower.client_app import _carried
from sottovoce_client.home.diary import What
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.rounds.label import Label
from sottovoce_server.flower.run_app import train
from sottovoce_server.home.runs import RunFolder
from sottovoce_server.rounds.own_words import remembered

NAME = "label-1"


@pytest.fixture(scope="module")
def config(configured):
    return configured(rounds=1, epsilon=2.0)


@pytest.fixture(scope="module")
def after_a_run(federation_in, grid_of, config, tmp_path_factory):
    """A federation after a run, a copy of a label's home from before it, and the run's folder."""
    root = tmp_path_factory.mktemp("after")
    federation = federation_in(root)
    shutil.copytree(federation.homes[0].root, root / "before")
    folder = RunFolder(root / "run")
    folder.folder.mkdir()
    grid = grid_of([Label(home) for home in federation.homes])
    train(grid, federation.agreement, config, keeper=folder.keeper, coordinator=federation.coordinator)
    return federation, LabelHome.open(root / "before"), folder


@pytest.fixture
def words(after_a_run):
    """What the coordinator sends this label back: Flower's node of it is 1."""
    return remembered([after_a_run[2]])[1]


@pytest.fixture
def answer(after_a_run, config, tmp_path):
    """A label's answer to a new run, from the home as it was before the first one, or as it is."""
    federation, before, _ = after_a_run

    def ask(own, *, put_back=True, change=lambda home: None):
        home = before if put_back else federation.homes[0]
        copy = LabelHome.open(shutil.copytree(home.root, tmp_path / "home"))
        change(copy)
        announcement = Announcement.of(federation.agreement, config)
        said = decode(Label.open(copy.root).answer(announcement.encode(), Carried(own=own)))
        with Ledger(copy.ledger_file) as ledger:
            assert ledger.is_open(announcement.run) == isinstance(said, Advert)
        return said, copy

    return ask


def test_the_coordinator_remembers_each_labels_advert_and_rounds(after_a_run, words):
    federation, _, folder = after_a_run
    assert sorted(remembered([folder])) == [1, 2, 3, 4, 5]
    advert = decode(words.advert)
    assert (advert.label, words.rounds) == (NAME, (1,))
    assert advert.is_signed_by(federation.agreement.key_of(NAME))
    assert remembered([RunFolder(folder.folder / "none")]) == {}


def test_a_home_that_was_put_back_is_noticed_by_its_own_signature(answer, words):
    said, home = answer(words)
    assert isinstance(said, Refusal)
    assert said.reason is RefusalReason.UNAVAILABLE
    note = home.diary.notes()[-1]
    assert "does not hold that run" in note.details["why"]
    assert "label restore" in note.details["hint"]


def test_without_its_own_words_it_would_join(answer):
    """The control: nothing in the home itself contradicts it."""
    assert isinstance(answer(None)[0], Advert)


def test_a_home_that_knows_its_words_joins(answer, words):
    assert isinstance(answer(words, put_back=False)[0], Advert)


def test_a_missing_charge_of_a_round_is_noticed(answer, words):
    said, home = answer(replace(words, rounds=(1, 7)), put_back=False)
    assert isinstance(said, Refusal)
    assert "round 7" in home.diary.notes()[-1].details["why"]


def test_a_restored_home_that_has_charged_all_that_it_may_have_spent_joins(answer, words):
    def spend(home):
        with Ledger(home.ledger_file) as ledger:
            ledger._append(Kind.CHARGE, decode(words.advert).run, THE_REST, ())

    assert isinstance(answer(replace(words, rounds=(1, 7)), put_back=False, change=spend)[0], Advert)


@pytest.mark.parametrize("whose", ["nobody's", "another label's", "another key's", "another message"])
def test_words_of_others_raise_no_alarm(answer, words, after_a_run, whose):
    advert = decode(words.advert)
    fields = {name: getattr(advert, name) for name in advert.__dataclass_fields__ if name not in ("TYPE", "PURPOSE")}
    del fields["signature"]
    own = {
        "nobody's": lambda: OwnWords(b"SoVo"),
        "another label's": lambda: remembered([after_a_run[2]])[2],
        "another key's": lambda: OwnWords(Advert.sign(Identity.generate(), **fields).encode()),
        "another message": lambda: OwnWords(
            Announcement(bytes(16), bytes(32), bytes(32), b"{}").encode(),
        ),
    }[whose]()
    assert isinstance(answer(own)[0], Advert)


def test_words_travel_with_the_announcement_and_no_other_message(grid, federation, config):
    own = {2: OwnWords(b"words", (1, 3))}
    seen = []

    def look(label, message):
        record = message.content.config_records[RECORD]
        seen.append((label, message.metadata.message_type, record.get(ADVERT), record.get(ROUNDS)))

    grid.tamper = look
    train(grid, federation.agreement, config, remembered=own)
    assert [each for each in seen if each[2] is not None] == [("label-2", Action.ANNOUNCE, b"words", [1, 3])]


def test_the_others_train_without_it_and_the_coordinator_reads_why(after_a_run, grid_of, config, tmp_path, caplog):
    federation, before, folder = after_a_run
    roots = [before.root, *(home.root for home in federation.homes[1:])]
    homes = [LabelHome.open(shutil.copytree(root, tmp_path / str(node))) for node, root in enumerate(roots)]
    grid = grid_of([Label(home) for home in homes])
    outcome = train(grid, federation.agreement, config, remembered=remembered([folder]))
    assert outcome.history.refusals == {NAME: RefusalReason.UNAVAILABLE}
    assert len(outcome.history.rounds[0].survivors) == 4
    assert f"{NAME} was sent its own earlier advert: its ledger may be an older copy." in caplog.text


def set_up(federation, config, homes):
    """All join a run and reveal their nonces; the coordinator sends nobody its own words. Returns the run."""
    aggregator = Aggregator(federation.agreement, Announcement.of(federation.agreement, config))
    labels = {home.name: Label.open(home.root) for home in homes}
    requests = dict.fromkeys(labels, aggregator.announcement)
    for then in (aggregator.fix_members, aggregator.close_reveals, aggregator.close_ciphertexts):
        for name, request in requests.items():
            aggregator.receive(decode(labels[name].answer(request.encode())))
        requests = then()
    return aggregator.announcement.run


@pytest.mark.parametrize("put_back", [True, False])
def test_the_other_labels_notice_although_the_coordinator_says_nothing(after_a_run, config, tmp_path, caplog, put_back):
    federation, before, folder = after_a_run
    first = before if put_back else federation.homes[0]
    roots = [first.root, *(home.root for home in federation.homes[1:])]
    homes = [LabelHome.open(shutil.copytree(root, tmp_path / str(node))) for node, root in enumerate(roots)]
    run = set_up(federation, config, homes)
    earlier = decode(remembered([folder])[1].advert).run.hex()
    for home in homes[1:]:
        noted = [(note.run, note.details["runs"]) for note in home.diary.notes() if note.what is What.PUT_BACK]
        assert noted == ([(run.hex(), {NAME: earlier})] if put_back else [])
        assert [each.put_back for each in account_of(home).runs] == [{}, {NAME: earlier} if put_back else {}]
    assert not [note for note in homes[0].diary.notes() if note.what is What.PUT_BACK]
    assert (f"The home of {NAME} was put back: it joins this run in the place of run {earlier[:8]}" in caplog.text) == (
        put_back
    )


@pytest.mark.parametrize("words", [{ADVERT: "text"}, {ADVERT: b"", ROUNDS: 1}, {ADVERT: b"", ROUNDS: ["one"]}])
def test_words_of_another_form_are_refused(words):
    with pytest.raises(WrongParameters):
        _carried(RecordDict({RECORD: ConfigRecord({FRAME: b"", **words})}))
