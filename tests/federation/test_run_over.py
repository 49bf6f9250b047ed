"""At the end of a run the coordinator says so, signed: labels follow to the last model, release and delete the rest."""

import hashlib
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sottovoce.errors import ConfigurationError, LocalProtocolError, ProtocolError, RoundAborted
from sottovoce.federation.identity import Identity
from sottovoce.protocol.messages import Announcement, RunOver
from sottovoce.protocol.run_over import NO_MODEL, check_over
from sottovoce.protocol.violations import (
    BadSignature,
    UnfollowedParameters,
    UnplannedRound,
    WrongAgreement,
    WrongRound,
    WrongRun,
)
from sottovoce.run.records import SUMS, Action, Carried
from sottovoce_client.budget.known_heads import known_heads, open_ledger
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.home.diary import What
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.rounds.label import Label
from sottovoce_server.flower.deployed_coordinator import tell_late
from sottovoce_server.flower.run_app import train
from sottovoce_server.flower.run_endings import tell
from sottovoce_server.rounds.checkpoint import Keeper
from sottovoce_server.rounds.ending import Ending

LABELS = tuple(f"label-{number}" for number in range(1, 6))


class Crash(Exception):
    """The coordinator's process is gone."""


@pytest.fixture
def keeper(tmp_path):
    (tmp_path / "run").mkdir()
    return Keeper(tmp_path / "run")


@pytest.fixture(scope="module")
def config(configured):
    return configured(rounds=2)


@pytest.fixture
def run_of(grid, federation, config, keeper):
    """Starts or resumes one run; `changes` go to `train`."""
    announcement = Announcement.of(federation.agreement, config)

    def go(**changes):
        options = {"announcement": announcement, "keeper": keeper, "coordinator": federation.coordinator, **changes}
        return train(grid, federation.agreement, config, **options)

    go.run = announcement.run
    return go


@pytest.fixture(scope="module")
def interrupted(federation_in, grid_of, config, tmp_path_factory):
    """A federation whose run has had all its rounds when its coordinator vanished; with announcement and folder."""
    root = tmp_path_factory.mktemp("interrupted")
    federation, announcement = federation_in(root), None
    (root / "run").mkdir()
    grid = grid_of([Label(home) for home in federation.homes])

    def crash(label, message):
        if message.metadata.message_type == Action.EVALUATE:
            raise Crash

    grid.tamper = crash
    announcement = Announcement.of(federation.agreement, config)
    with pytest.raises(Crash):
        train(grid, federation.agreement, config, announcement=announcement, keeper=Keeper(root / "run"))
    return federation, announcement, root / "run"


@pytest.fixture
def end(interrupted, config, tmp_path):
    """A copy of one label of the interrupted run, and what its coordinator would say; made anew for each test."""
    federation, announcement, folder = interrupted
    home = LabelHome.open(shutil.copytree(federation.homes[0].root, tmp_path / "label-1"))
    snapshot, _ = Keeper(folder).load()
    sums = {number: Keeper(folder).sums.sum_of(number) for number in range(1, config.rounds + 1)}
    return End(federation, announcement, home, snapshot, sums)


class End:
    """The end of the interrupted run at one label."""

    def __init__(self, federation, announcement, home, snapshot, sums):
        from sottovoce.models.trainable import trainable_mask
        from sottovoce.run.global_model import GlobalModel

        self.home, self.run, self.sums = home, announcement.run, sums
        self.federation, self.config = federation, announcement.config
        known = {"run": self.run, "labels": 5, "trainable": trainable_mask(self.config)}
        model = GlobalModel.from_bytes(snapshot.model, self.config, **known)
        self.over = RunOver.sign(
            federation.coordinator,
            run=self.run,
            agreement=federation.agreement.digest,
            round=self.config.rounds,
            parameters_digest=model.digest,
        )

    def told(self, over=None, *, sums=None):
        over = over or self.over
        return Label.open(self.home.root).answer(over.encode(), Carried(sums=self.sums if sums is None else sums))

    def signed(self, identity=None, **changes):
        fields = {name: getattr(self.over, name) for name in ("run", "agreement", "round", "parameters_digest")}
        return RunOver.sign(identity or self.federation.coordinator, **{**fields, **changes})


def is_over(home, run):
    with Ledger(home.ledger_file) as ledger:
        still_open = ledger.is_open(run)
    return not still_open and list(home.runs.glob("*")) == [] and not list(home.runs.glob(f".{run.hex()}*"))


def promises(home, run):
    with Ledger(home.ledger_file) as ledger:
        return ledger.is_open(run) and (home.runs / f"{run.hex()}.json").exists()


@pytest.fixture
def crashed(interrupted, grid_of, tmp_path):
    """A copy of all of the interrupted run, and a coordinator that resumes it."""
    federation, announcement, folder = interrupted
    homes = (shutil.copytree(home.root, tmp_path / "homes" / home.name) for home in federation.homes)
    return Crashed(
        replace(federation, homes=tuple(map(LabelHome.open, homes))),
        announcement,
        Keeper(Path(shutil.copytree(folder, tmp_path / "copied"))),
        grid_of,
    )


class Crashed:
    """An interrupted run whose coordinator comes back."""

    def __init__(self, federation, announcement, keeper, grid_of):
        self.homes, self.run, self.keeper = federation.homes, announcement.run, keeper
        self.grid = grid_of([Label(home) for home in federation.homes])
        self.resumed = partial(
            train,
            self.grid,
            federation.agreement,
            announcement.config,
            announcement=announcement,
            keeper=keeper,
            resume=True,
            coordinator=federation.coordinator,
        )

    @property
    def weights(self):
        return {home.diary.weights(self.run.hex()) for home in self.homes}


def test_a_crash_within_the_last_evaluation_leaves_labels_that_have_followed(crashed):
    """Everybody missed the last sum, so nobody co-signed, promises stayed and the run's keys were never deleted."""
    assert all(promises(home, crashed.run) for home in crashed.homes)
    assert crashed.weights == {None}
    crashed.grid.lose = lambda label, action: action == Action.PREPARE  # the final evaluation cannot be repeated
    crashed.resumed()
    assert len(crashed.weights) == 1
    assert None not in crashed.weights
    assert all(is_over(home, crashed.run) for home in crashed.homes)


def test_a_final_evaluation_that_is_done_is_not_repeated(crashed, config):
    assert max(crashed.resumed().history.metrics) == config.rounds
    asked = len(crashed.grid.seen)
    assert max(crashed.resumed().history.metrics) == config.rounds
    assert [action for _, action, _ in crashed.grid.seen[asked:]] == []


def test_a_label_that_was_away_is_told_later_with_the_sums_that_it_lacks(crashed):
    nodes = crashed.grid.get_node_ids
    crashed.grid.get_node_ids = lambda: [1, 2, 3, 5]
    crashed.grid.lose = lambda label, action: label == "label-4" or action == Action.PREPARE
    crashed.resumed()
    kept = crashed.keeper.ending.read()
    assert kept.untold == {"label-4": 4}
    assert promises(crashed.homes[3], crashed.run)
    carried = []
    crashed.grid.get_node_ids = nodes
    crashed.grid.lose = lambda label, action: False
    crashed.grid.tamper = lambda label, message: carried.append(sorted(message.content.array_records.get(SUMS, {})))
    assert tell(crashed.grid, kept, crashed.keeper.sums).untold == {}
    assert carried == [["2"]]
    assert is_over(crashed.homes[3], crashed.run)
    assert len(crashed.weights) == 1


def test_a_label_that_has_lost_its_model_gets_everything(crashed):
    for home in crashed.homes:
        (home.runs / f"{crashed.run.hex()}.model").unlink()
    crashed.grid.lose = lambda label, action: action == Action.PREPARE
    crashed.resumed()
    assert crashed.keeper.ending.read().untold == {}
    assert None not in crashed.weights
    assert all(is_over(home, crashed.run) for home in crashed.homes)


def test_a_run_that_never_began_is_over_for_those_who_joined(grid, run_of, federation, keeper):
    grid.lose = lambda label, action: action == Action.ANNOUNCE and label in ("label-1", "label-2", "label-3")
    with pytest.raises(RoundAborted):
        run_of()
    ending = keeper.ending.read()
    assert (ending.over.round, ending.over.has_model, ending.untold) == (0, False, {})
    assert all(is_over(home, run_of.run) for home in federation.homes[3:])
    assert not any(promises(home, run_of.run) for home in federation.homes[:3])  # their adverts never arrived


def test_nodes_that_never_joined_and_those_that_are_gone_are_no_obstacle_to_an_end(grid, run_of, federation, keeper):
    grid.lose = lambda label, action: label == "label-1"  # neither its advert nor its confirmation arrives
    run_of()
    assert keeper.ending.read().untold == {}
    assert all(is_over(home, run_of.run) for home in federation.homes[1:])


def test_a_run_that_broke_off_while_labels_joined_it_is_over_for_those_who_are_connected(
    grid, run_of, federation, keeper
):
    """`make soak`: `server end` told nobody of such a run, and their promises stayed for 30 days."""

    def crash(label, message):
        if message.metadata.message_type == Action.PAIRING:
            raise Crash

    grid.tamper = crash
    with pytest.raises(Crash):
        run_of()
    assert all(promises(home, run_of.run) for home in federation.homes)
    known = {"run": run_of.run, "agreement": federation.agreement.digest, "round": 0}
    keeper.ending.write(Ending(RunOver.sign(federation.coordinator, **known, parameters_digest=NO_MODEL)))
    tell_late(grid, SimpleNamespace(keeper=keeper, order=lambda: SimpleNamespace(patience=0)))
    assert all(is_over(home, run_of.run) for home in federation.homes)


def test_a_run_without_a_model_is_over_too(grid, run_of, federation):
    grid.lose = lambda label, action: action == Action.UNMASK
    with pytest.raises(RoundAborted, match="Every round"):
        run_of()
    assert all(is_over(home, run_of.run) for home in federation.homes)


def test_the_people_see_that_a_run_is_over(end):
    assert end.told() == end.over.encode()
    notes = [note for note in end.home.diary.notes() if note.what is What.OVER]
    assert [note.details["after"] for note in notes] == [end.config.rounds]
    assert end.told() == end.over.encode()  # told again: the same bytes, and nothing is noted
    assert [note for note in end.home.diary.notes() if note.what is What.OVER] == notes


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"agreement": bytes(32)}, WrongAgreement),
        ({"run": bytes(16)}, LocalProtocolError),
        ({"round": 1}, WrongRound),
        ({"round": 1, "parameters_digest": NO_MODEL}, WrongRound),
        ({"round": 3}, UnplannedRound),
        ({"parameters_digest": bytes(31) + b"\x01"}, UnfollowedParameters),
    ],
    ids=["agreement", "run", "early", "early and without a model", "late", "model"],
)
def test_an_end_that_contradicts_what_the_label_knows_is_refused(end, changes, error):
    with pytest.raises(error):
        end.told(end.signed(**changes))
    assert promises(end.home, end.run)
    assert end.home.diary.weights(end.run.hex()) is None
    assert not (end.home.runs / f".{bytes(16).hex()}.lock").exists()
    end.told()
    assert is_over(end.home, end.run)


@pytest.mark.parametrize(
    ("after", "has_model", "newest_round", "error"),
    [
        (3, True, 3, None),
        (3, True, 4, None),  # the evaluation of the result had begun
        (3, True, 0, None),
        (0, False, 0, None),
        (2, False, 2, None),
        (3, False, 3, None),
        (2, True, 2, WrongRound),
        (2, False, 3, WrongRound),
        (4, True, 4, UnplannedRound),
    ],
)
def test_a_run_ends_with_a_model_after_its_last_round_and_without_one_after_its_newest(
    after, has_model, newest_round, error
):
    run, agreement, model = bytes(16), bytes(32), bytes([1]) * 32
    over = RunOver(run, agreement, after, model if has_model else NO_MODEL, bytes(64))

    def check():
        check_over(over, advert=SimpleNamespace(run=run, agreement=agreement), rounds=3, newest_round=newest_round)

    if error is None:
        check()
    else:
        with pytest.raises(error):
            check()


def test_another_runs_end_and_one_under_another_agreement_are_refused_where_they_are_checked():
    over = RunOver(bytes(16), bytes(32), 3, NO_MODEL, bytes(64))
    known = {"rounds": 3, "newest_round": 3}
    with pytest.raises(WrongRun):
        check_over(over, advert=SimpleNamespace(run=bytes([1]) * 16, agreement=bytes(32)), **known)
    with pytest.raises(WrongAgreement):
        check_over(over, advert=SimpleNamespace(run=bytes(16), agreement=bytes([1]) * 32), **known)


@pytest.mark.parametrize("forger", ["nobody", "another coordinator", "the label itself", "changed"])
def test_a_forged_end_is_refused(end, forger):
    identities = {"another coordinator": Identity.generate(), "the label itself": end.home.identity()}
    forged = {
        "nobody": lambda: replace(end.over, signature=bytes(64)),
        "changed": lambda: replace(end.over, parameters_digest=NO_MODEL),
    }.get(forger, lambda: end.signed(identities[forger]))()
    with pytest.raises(BadSignature):
        end.told(forged)
    assert promises(end.home, end.run)


def test_an_end_without_the_last_sum_keeps_the_promise(end):
    with pytest.raises(UnfollowedParameters):
        end.told(sums={1: end.sums[1]})
    assert promises(end.home, end.run)
    note = end.home.diary.notes()[-1]
    assert (note.what, note.details["reason"]) == (What.ROUND_DECLINED, "unfollowed")


def test_a_label_that_trained_leaves_a_run_that_ends_without_a_model(end):
    end.told(end.signed(parameters_digest=NO_MODEL))
    assert is_over(end.home, end.run)
    assert end.home.diary.weights(end.run.hex()) is None


def test_a_label_that_trained_in_no_round_follows_no_model(end, monkeypatch):
    monkeypatch.setattr(Ledger, "charged_rounds", lambda ledger, run: frozenset())
    end.told()
    assert is_over(end.home, end.run)
    assert end.home.diary.weights(end.run.hex()) is None


@pytest.mark.parametrize("state", [b"{}", b"torn", None])
def test_a_label_whose_state_is_damaged_or_lost_leaves_all_the_same(end, state):
    """As one that was killed while it joined: its promise is in the ledger, and it has no state."""
    file = end.home.runs / f"{end.run.hex()}.json"
    file.unlink() if state is None else file.write_bytes(state)
    end.told()
    assert is_over(end.home, end.run)
    assert end.home.diary.weights(end.run.hex()) is None


def test_a_run_that_is_over_answers_nothing_any_more(end, interrupted):
    _, announcement, _ = interrupted
    end.told()
    with pytest.raises(ProtocolError):
        Label.open(end.home.root).answer(end.over.encode()[:-1])
    with pytest.raises(Exception, match="closed"):
        Label.open(end.home.root).answer(announcement.encode())


def test_the_bytes_are_those_that_the_protocol_page_gives(end):
    over = end.over
    body = (
        b"SoVo"
        + bytes([over.version, 0x11])
        + over.run
        + over.agreement
        + over.round.to_bytes(4)
        + over.parameters_digest
    )
    assert over.encode() == body + over.signature
    signed = b"sottovoce/1/run-over\x00" + hashlib.sha256(body).digest()
    Ed25519PublicKey.from_public_bytes(end.federation.coordinator.public_key).verify(over.signature, signed)


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"version":1,"over":"00","untold":{},"stands":{}}', b'{"version":9}'])
def test_a_damaged_end_is_refused(tmp_path, damage):
    from sottovoce_server.rounds.ending import EndingFile

    (tmp_path / "over.json").write_bytes(damage)
    with pytest.raises(ConfigurationError, match=r"over\.json"):
        EndingFile(tmp_path / "over.json").read()
    assert EndingFile(Path(tmp_path / "none")).read() is None


def test_an_end_reads_back(end, tmp_path):
    from sottovoce_server.rounds.ending import EndingFile

    file = EndingFile(tmp_path / "over.json")
    file.write(Ending(end.over, {"a": 7}, {"a": 2, "b": 3}))
    assert file.read() == Ending(end.over, {"a": 7}, {"a": 2})


def test_run_states_and_notes_name_the_ledgers_head(end):
    with Ledger(end.home.ledger_file) as ledger:
        before = ledger.head
    assert known_heads(end.home)[0] == before
    end.told()
    assert end.home.runs.exists()
    with open_ledger(end.home) as ledger:
        assert known_heads(end.home) == (ledger.head,)
        assert ledger.head.number == before.number + 1
