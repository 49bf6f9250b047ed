"""Promise: a label's ledger never holds less than was spent, even if somebody puts back an older copy of it.

The attack: an older ledger is a whole ledger with a valid chain, so it was accepted, and what it lacks was spent again.
"""

import shutil

import pytest

from sottovoce.errors import LedgerError
from sottovoce.privacy.calibration import plan_for
from sottovoce_client.budget.account import account_of
from sottovoce_client.budget.known_heads import known_heads, open_ledger
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.policy import Policy

RUN, OTHER = bytes(range(16)), bytes(16)


@pytest.fixture
def plan(run_configuration):
    return plan_for(run_configuration(), 100)


@pytest.fixture
def spent(plan, tmp_path):
    """A home whose ledger was copied after the first round of a run; the copy is `older`."""
    home = LabelHome.create(tmp_path / "home", name="blue-note")
    with open_ledger(home) as ledger:
        ledger.open_run(RUN, plan, Policy(epsilon_lifetime=100.0).ceilings)
        ledger.charge(RUN, 1, plan.events(1))
        shutil.copy(home.ledger_file, tmp_path / "older")
        ledger.charge(RUN, 2, plan.events(1))
    return home


def head(home):
    with Ledger(home.ledger_file) as ledger:
        return ledger.head


def state(home, newest):
    """A run's state as `RunStates.save` writes it; what follows the head does not matter here."""
    text = f'{{"histogram":null,"ledger":[{newest.number},"{newest.hash.hex()}"],"participant":"00"}}'
    (home.runs / f"{RUN.hex()}.json").write_text(text)


def put_back(home, tmp_path):
    shutil.copy(tmp_path / "older", home.ledger_file)
    home.ledger_file.chmod(0o600)


@pytest.mark.parametrize("witness", ["a run's state", "a note of a run that is over", "a note of a closed run"])
def test_an_older_ledger_is_refused_with_the_way_out(spent, tmp_path, monkeypatch, witness):
    if witness == "a run's state":
        state(spent, head(spent))
    elif witness == "a note of a run that is over":
        spent.diary.over(RUN, after=2, ledger=head(spent))
    else:
        spent.diary.closed(RUN, ledger=head(spent))
        spent.diary.round_declined(RUN, 3, "hours")  # a later note without a head
    open_ledger(spent).close()
    put_back(spent, tmp_path)
    Ledger(spent.ledger_file).close()  # the file by itself is whole
    closed = []
    monkeypatch.setattr(Ledger, "close", lambda ledger: closed.append(ledger))
    with pytest.raises(LedgerError, match="lacks row 3") as caught:
        open_ledger(spent)
    assert len(closed) == 1
    monkeypatch.undo()
    assert "label restore" in caught.value.hint
    with pytest.raises(LedgerError):
        account_of(spent)


def test_another_ledger_that_has_grown_longer_is_refused(spent, tmp_path, plan):
    state(spent, head(spent))
    put_back(spent, tmp_path)
    with Ledger(spent.ledger_file) as ledger:
        for number in (5, 6, 7):
            ledger.charge(RUN, number, ())
    with pytest.raises(LedgerError, match="lacks row 3"):
        open_ledger(spent)


def test_an_older_run_state_beside_a_newer_ledger_is_no_rollback(spent, plan):
    state(spent, head(spent))
    with open_ledger(spent) as ledger:
        ledger.charge(RUN, 3, plan.events(1))
    open_ledger(spent).close()


def test_run_states_without_a_head_and_damaged_ones_name_none(spent):
    (spent.runs / f"{RUN.hex()}.json").write_bytes(b'{"histogram":null,"participant":"00"}')
    (spent.runs / f"{OTHER.hex()}.json").write_bytes(b'{"ledger":[x')
    assert known_heads(spent) == ()


def test_a_damaged_line_hides_no_head_before_it(spent):
    spent.diary.over(RUN, after=2, ledger=head(spent))
    with spent.diary.file.open("ab") as file:
        file.write(b'{"ledger":[x\n')
    assert known_heads(spent) == (head(spent),)


def test_a_coordinators_words_in_the_diary_name_no_head(spent):
    forged = '"ledger":[99,"' + "00" * 32 + '"]'
    spent.diary.round_declined(RUN, 1, forged)
    assert known_heads(spent) == ()
