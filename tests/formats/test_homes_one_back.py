"""Homes of protocol 2 go on: ledger, agreement, diary, runs under way and releases, without a hand's turn.

The homes were made with the code of commit cd5276d.
"""

import json

import pytest

from sottovoce.errors import LocalProtocolError
from sottovoce.federation.agreement import Agreement
from sottovoce.protocol.adverts import roster_of
from sottovoce.protocol.aggregator import Aggregator
from sottovoce.protocol.messages import RunOver, Versions, decode
from sottovoce.protocol.versions import Negotiation
from sottovoce_client.budget.known_heads import open_ledger
from sottovoce_client.catalogue.sides import Sides
from sottovoce_client.home.diary import What
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.policy import Policy
from sottovoce_client.rounds.label import Label
from sottovoce_client.rounds.opened_home import OpenedHome
from sottovoce_server.home.coordinator_home import ServerHome
from sottovoce_server.home.runs import RunFolder


@pytest.fixture
def opened(one_back):
    return OpenedHome.of(LabelHome.open(one_back.label))


def test_a_label_knows_what_it_spent_whom_it_confirmed_and_what_is_held_out(one_back, opened):
    code, out, _ = one_back.run("label", "ledger", "--json")
    assert code == 0
    runs = {run["state"]: run for run in json.loads(out)["runs"]}
    assert runs["closed"]["charged"] == [1, 2, 3]  # the third is the evaluation
    assert runs["open"]["run"] == one_back.broken_off
    code, out, _ = one_back.run("label", "status", "--json")
    assert (code, json.loads(out)["federation"], json.loads(out)["outdated"]) == (0, "isles, 3 labels", None)
    assert opened.confirmed == {"north", "west"}
    assert Policy.from_toml(opened.home.policy_file).oldest_protocol == 0
    assert {note.what for note in opened.home.diary.notes()} >= {What.JOINED, What.OVER, What.COSIGNED, What.FOLLOWED}
    assert opened.home.diary.newest_protocol() == 0
    with Sides(opened.home.sides_file) as sides:
        assert sum(sides.counts()) == 24
    _, out, objections = one_back.run("label", "check", one_back.agreement)
    assert "Federation 'isles', 3 labels" in out
    assert objections.startswith("Cannot take part: this label has no catalogue")  # which is in no repository


def test_a_label_goes_on_in_a_run_under_way(one_back, opened):
    run = bytes.fromhex(one_back.broken_off)
    state = opened.states.load(run)
    assert (state.participant.version, state.participant.met, state.participant.newest_round) == (2, 0, 3)
    before = json.loads((one_back.label / "runs" / f"{one_back.broken_off}.json").read_bytes())
    opened.states.save(run, state)
    assert json.loads((one_back.label / "runs" / f"{one_back.broken_off}.json").read_bytes()) == before
    assert opened.states.model(run)


def test_a_coordinator_goes_on_with_its_runs(one_back):
    assert one_back.run("server", "journal", "verify")[0] == 0
    listed = {each["run"]: each["state"] for each in json.loads(one_back.run("server", "runs", "--json")[1])}
    assert listed[one_back.broken_off] == "stopped" or listed[one_back.broken_off] == "broke off"
    home = ServerHome.open(one_back.server)
    folder = RunFolder.of(home, one_back.broken_off)
    order, (snapshot, started) = folder.order(), folder.keeper.load()
    aggregator = Aggregator(home.invitation().agreement, order.announcement)
    aggregator.restore([decode(message) for message in snapshot.setup], started)
    assert (aggregator.announcement.version, aggregator.session.members) == (2, ("east", "north", "west"))
    assert snapshot.history.protocol == 2
    assert len(snapshot.history.rounds) == 2
    assert folder.keeper.sums.sum_of(2)
    published = RunFolder(one_back.release.parent).keeper.ending.read()
    assert published.over.has_model


def test_a_run_under_way_ends_at_both_sides(one_back, opened):
    assert one_back.run("server", "end", one_back.broken_off[:8], "--yes")[0] == 0
    folder = RunFolder.of(ServerHome.open(one_back.server), one_back.broken_off)
    over = folder.keeper.ending.read().over
    assert isinstance(over, RunOver)
    Label(opened.home).answer(over.encode())
    with open_ledger(opened.home) as ledger:
        assert not ledger.is_open(over.run)
        assert ledger.charged_rounds(over.run) == {1, 2, 3}
    with pytest.raises(LocalProtocolError, match="not joined"):
        opened.states.load(over.run)


def test_a_label_states_the_versions_of_todays_release(one_back):
    agreement = Agreement.read(one_back.label / "federation.toml")
    negotiation = Negotiation(bytes(16), agreement.digest, roster_of(agreement))
    answer = decode(Label.open(one_back.label).answer(negotiation.request.encode()))
    assert isinstance(answer, Versions)
    negotiation.take(answer)
    assert negotiation.spoken_by("east") == range(2, 4)


def test_a_release_is_verified(one_back):
    code, out, _ = one_back.run("release", "verify", one_back.release, "--key", one_back.agreement)
    assert code == 0
    assert "east, north, west" in out
