"""Promise: a policy holds from the next message on, whatever the label has joined before.

The attack needs no skill: a run that was joined went on for as many rounds as it planned, though the label's people
forbade its task, its kind of privacy or its ε after the first one. Only hours, participants and confirmations were
looked at in each round. Here is what becomes of the run; each rule is tried in `client/rounds/test_reporting.py`.
"""

import tomllib

import pytest
import tomli_w

from sottovoce.run.records import Action
from sottovoce_client.budget.ledger import Kind, Ledger
from sottovoce_client.home.diary import What
from sottovoce_client.rounds.label import Label
from sottovoce_server.flower.run_app import train

EDITS = {'tasks = ["generator"]': "task", "epsilon_per_run = 0.5": "privacy"}


@pytest.mark.parametrize("edit", EDITS)
def test_what_people_forbid_after_a_round_is_not_trained_in_the_next(grid, labels, agreement, config, federation, edit):
    home = federation.homes[0]

    def forbid(name, message):
        if name == "label-1" and message.metadata.message_type == Action.UNMASK.value:
            rules = tomllib.loads(home.policy_file.read_text()) | tomllib.loads(edit)
            home.write_policy(tomli_w.dumps(rules))
            labels[0] = Label(home)  # in a deployment each message has a process of its own

    grid.tamper = forbid
    history = train(grid, agreement, config.changed(rounds=2), timeout=60.0).history
    assert [len(record.survivors) for record in history.rounds] == [5, 4]
    declined = {
        (note.details["round"], note.details["reason"])
        for note in home.diary.notes()
        if note.what is What.ROUND_DECLINED
    }
    assert declined == {(2, EDITS[edit]), (3, EDITS[edit])}
    with Ledger(home.ledger_file) as ledger:
        assert [row.round for row in ledger.rows() if row.kind is Kind.CHARGE] == [1]
