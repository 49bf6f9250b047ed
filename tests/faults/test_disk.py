"""Every store survives every fault of the disk: what is there afterwards is the old or the new, and work goes on."""

import os

import pytest
from tests.faults.disk import Fault, Stopped, every_fault

from sottovoce.federation.enrolment import Enrolment
from sottovoce.federation.identity import Identity
from sottovoce.files import append_line, clear_asides, cut_unfinished_line, folder_aside, write_bytes
from sottovoce.protocol.messages import Announcement
from sottovoce.run.configure import configure_run
from sottovoce.run.request import RunRequest
from sottovoce_client.home.diary import Diary
from sottovoce_client.home.node_key import NodeKey
from sottovoce_server.home.coordinator_home import ServerHome
from sottovoce_server.home.journal import Journal
from sottovoce_server.home.log_file import LogFile
from sottovoce_server.home.runs import Order, RunFolder
from sottovoce_server.rounds.checkpoint import Keeper, Snapshot
from sottovoce_server.rounds.history import RunHistory
from sottovoce_server.rounds.listing import listed_runs


def test_a_file_is_the_old_or_the_new(fresh, monkeypatch):
    outcomes = set()
    for folder, _fault, failed in every_fault(
        lambda folder: write_bytes(folder / "state", b"new", mode=0o600),
        lambda: fresh(lambda new: write_bytes(new / "state", b"old")),
        monkeypatch,
    ):
        content = (folder / "state").read_bytes()
        assert content in ((b"old", b"new") if failed else (b"new",))
        outcomes.add(content)
        write_bytes(folder / "state", b"newer")
        assert (folder / "state").read_bytes() == b"newer"
    assert outcomes == {b"old", b"new"}


def test_a_killed_writes_secret_is_cleared_away(fresh, monkeypatch):
    left = 0
    monkeypatch.setattr("sottovoce.files.os.getpid", lambda: 2**22 + 1)  # no process has this number
    for folder, _fault, _failed in every_fault(
        lambda folder: write_bytes(folder / "run.json", b"secret", mode=0o600),
        lambda: fresh(lambda new: None),
        monkeypatch,
    ):
        left += any(path.name.startswith(".run.") for path in folder.iterdir())
        clear_asides(folder)
        assert {path.name for path in folder.iterdir()} <= {"run.json"}
    assert left


def test_a_living_processs_file_stays(tmp_path):
    (tmp_path / f".run.{os.getpid()}.abcdefgh.json").touch()
    (tmp_path / ".run.lock").touch()
    (tmp_path / "run.123456789.abcdefgh.json").touch()
    clear_asides(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_line_is_appended_whole_or_not_at_all(fresh, monkeypatch):
    def append(folder):
        cut_unfinished_line(folder / "lines")
        append_line(folder / "lines", b"second", mode=0o600)

    for folder, fault, failed in every_fault(
        append, lambda: fresh(lambda new: append_line(new / "lines", b"first", mode=0o600)), monkeypatch
    ):
        content = (folder / "lines").read_bytes()
        whole = (b"first\n", b"first\nsecond\n")
        if not failed:
            assert content == whole[1]
        elif fault in (Fault.FULL, Fault.SHORT):
            assert content == whole[0] or content.startswith(whole[0])
        append(folder)
        lines = (folder / "lines").read_bytes().splitlines()
        assert lines[0] == b"first"
        assert set(lines[1:]) == {b"second"}


def test_a_folder_is_the_old_or_the_new(fresh, monkeypatch):
    def fill(folder):
        with folder_aside(folder / "release") as aside:
            (aside / "model").write_bytes(b"new")

    def old(folder):
        (folder / "release").mkdir()
        (folder / "release" / "model").write_bytes(b"old")

    monkeypatch.setattr("sottovoce.files._alive", lambda process: False)  # whoever was killed is no more
    for folder, _fault, failed in every_fault(fill, lambda: fresh(old), monkeypatch):
        with pytest.raises(Stopped), folder_aside(folder / "release"):
            raise Stopped  # another call, which fails by itself, finds one of both there and leaves it
        content = (folder / "release" / "model").read_bytes()
        assert content in ((b"old", b"new") if failed else (b"new",))
        assert [path.name for path in folder.iterdir()] == ["release"]


def test_the_journal_continues(fresh, monkeypatch):
    identity = Identity.generate()
    repairs = 0

    def write(folder):
        Journal(folder / "journal.jsonl", identity).append("round", {"number": 2})

    def begin(folder):
        Journal(folder / "journal.jsonl", identity).append("round", {"number": 1})

    for folder, fault, failed in every_fault(write, lambda: fresh(begin), monkeypatch):
        journal = Journal(folder / "journal.jsonl", identity)
        numbers = [entry.data.get("number") for entry in journal.verify()]
        assert numbers in ([[1], [1, 2]] if failed else [[1, 2]])
        if fault in (Fault.FULL, Fault.SHORT) and failed:
            assert journal.path.read_bytes().endswith(b"\n")
        journal.append("round", {"number": 3})
        entries = journal.verify()
        assert entries[-1].data == {"number": 3}
        repairs += sum(entry.kind == "repair" for entry in entries)
    assert repairs == 0  # a line is one write: only a machine that stops within one leaves a part


@pytest.mark.parametrize("left", [1, 20, 200])
def test_a_line_that_a_crash_cut_off_is_removed_and_that_is_written_down(tmp_path, left):
    journal = Journal(tmp_path / "journal.jsonl", Identity.generate())
    journal.append("round", {"number": 1})
    whole = journal.path.read_bytes()
    journal.append("round", {"number": 2})
    part = journal.path.read_bytes()[len(whole) :][:left]
    journal.path.write_bytes(whole + part)
    assert [entry.number for entry in journal.verify()] == [1]
    journal.append("round", {"number": 3})
    kinds = [(entry.kind, entry.data.get("bytes", entry.data.get("number"))) for entry in journal.verify()]
    assert kinds == [("round", 1), ("repair", left), ("round", 3)]


def test_notes_continue(fresh, monkeypatch):
    for folder, _fault, failed in every_fault(
        lambda folder: Diary(folder / "diary").cosigned(bytes(15) + b"2", release="2"),
        lambda: fresh(lambda new: Diary(new / "diary").cosigned(bytes(15) + b"1", release="1")),
        monkeypatch,
    ):
        diary = Diary(folder / "diary")
        assert len(diary.notes()) in ((1, 2) if failed else (2,))
        diary.closed(bytes(16))
        assert diary.notes()[-1].run == bytes(16).hex()


def test_a_label_is_enrolled_and_the_journal_says_so_first(fresh, monkeypatch):
    enrolment = Enrolment.sign(Identity.generate(), name="east", node_key=NodeKey.generate().public, federation="isles")
    for folder, _fault, failed in every_fault(
        lambda folder: ServerHome.open(folder / "home").enrol(enrolment),
        lambda: fresh(lambda new: ServerHome.create(new / "home", federation="isles", address="a:1")),
        monkeypatch,
    ):
        home = ServerHome.open(folder / "home")
        enrolled, written = home.enrolled(), [entry.data for entry in home.journal().verify()]
        assert not enrolled or written, "an effect that the journal does not know"
        assert failed or enrolled
        home.enrol(enrolment)
        assert home.enrolled() == [enrolment]
        home.journal().verify()


def test_a_run_is_listed_with_its_order_or_not_at_all(fresh, monkeypatch, tmp_path):
    config = configure_run(RunRequest(task="style", family="svm"), classes=("blues", "waltz"), labels=3)
    order = Order(Announcement(bytes(16), bytes(32), config.digest, config.to_bytes()), "isles", 1.0, 1.0)
    monkeypatch.setattr("sottovoce.files._alive", lambda process: False)
    for folder, _fault, failed in every_fault(
        lambda folder: RunFolder.create(ServerHome(folder), order),
        lambda: fresh(lambda new: (new / "runs").mkdir()),
        monkeypatch,
    ):
        listed = [(run["family"], run["state"]) for run in listed_runs(ServerHome(folder))]
        assert listed in ([], [("svm", "submitted")]) if failed else listed == [("svm", "submitted")]


def test_a_checkpoint_and_the_number_of_the_round_are_the_old_or_the_new(fresh, monkeypatch):
    def snapshot(value):
        return Snapshot(bytes([value]), (), {}, {}, RunHistory())

    def work(folder):
        keeper = Keeper(folder)
        keeper.started(2)
        keeper.save(snapshot(2))

    def begin(new):
        Keeper(new).started(1)
        Keeper(new).save(snapshot(1))

    seen = set()
    for folder, _fault, failed in every_fault(work, lambda: fresh(begin), monkeypatch):
        kept, started = Keeper(folder).load()
        seen.add((kept.model[0], started))
        assert failed or (kept.model[0], started) == (2, 2)
        work(folder)
    assert seen == {(1, 1), (1, 2), (2, 2)}  # a round is never forgotten that may have been asked for


def test_the_log_is_the_old_or_the_new(fresh, monkeypatch):
    coordinator = Identity.generate()
    for folder, _fault, failed in every_fault(
        lambda folder: LogFile(folder / "log.jsonl", coordinator).append(b"2" * 64),
        lambda: fresh(lambda new: LogFile(new / "log.jsonl", coordinator).append(b"1" * 64)),
        monkeypatch,
    ):
        lines = (folder / "log.jsonl").read_bytes().split()
        assert lines in (([b"1" * 64], [b"1" * 64, b"2" * 64]) if failed else ([b"1" * 64, b"2" * 64],))
        assert LogFile(folder / "log.jsonl", coordinator).append(b"2" * 64)
