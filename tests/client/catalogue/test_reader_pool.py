import os
import sys
from pathlib import Path

import pytest

from sottovoce_client.catalogue import reader_pool, scan
from sottovoce_client.catalogue.file_facts import examine

FAILS = """
import os, sys
from sottovoce_client.catalogue import reader_process as reader
real = reader.examine
reader.examine = lambda path: os.abort() if "crash" in path.name else real(path)
reader.main()
"""

GREEDY = """
from sottovoce_client.catalogue import reader_process as reader
real = reader.examine
reader.examine = lambda path: real(path) if bytearray(2 * reader.MEMORY if "greedy" in path.name else 1) else None
reader.main()
"""


def scans(root: Path, index: Path) -> None:
    scan(root, index=index, workers=2, progress=lambda done, total: total and done == 9 and print("on", flush=True))


def children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


@pytest.fixture(autouse=True)
def _leaves_no_process() -> object:
    before = children()
    yield
    assert children() == before


@pytest.mark.parametrize("workers", [2, 5])
def test_readers_say_what_examining_here_says(root: Path, write, workers: int) -> None:
    files = dict(enumerate([write(f"jazz/{number}.flac") for number in range(7)] + [root / "missing.wav"]))
    assert dict(reader_pool.read_all(files.items(), workers)) == {n: examine(path) for n, path in files.items()}


def test_no_files_need_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_pool, "COMMAND", ["/does/not/exist"])
    assert list(reader_pool.read_all([], 4)) == []


def test_a_file_that_brings_the_decoder_down_is_corrupt_and_the_rest_goes_on(
    root: Path, index: Path, write, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b crash", "c", "d crash", "e", "f"):
        write(f"jazz/{name}.wav")
    with monkeypatch.context() as patched:
        patched.setattr(reader_pool, "COMMAND", [sys.executable, "-c", FAILS])
        catalogue = scan(root, index=index, workers=2)
    assert [track.path.stem for track in catalogue.tracks] == ["a", "c", "e", "f"]
    assert [(file.path, file.reason, file.detail) for file in catalogue.unusable] == [
        ("jazz/b crash.wav", "corrupt", "The decoder crashed on it."),
        ("jazz/d crash.wav", "corrupt", "The decoder crashed on it."),
    ]
    assert scan(root, index=index).opened == 2  # files that did not cause the crash are retried


def test_readers_end_at_once_when_nobody_asks_any_more(root: Path, write) -> None:
    files = [(number, write(f"jazz/{number}.wav")) for number in range(6)]
    running = reader_pool.read_all(files, 2)
    next(running)
    assert len(children()) >= 2
    running.close()


def test_readers_do_not_outlive_a_scan_that_is_killed(root: Path, index: Path, write, fork, eventually) -> None:
    long = write("jazz/long.ogg", seconds=60)
    for number in range(100):
        (root / "jazz" / f"{number}.ogg").write_bytes(long.read_bytes())
    scanning = fork(scans, root, index)
    eventually(lambda: scanning.stdout == "on\n", "some files are read", alive=scanning.alive)
    below = [int(pid) for pid in Path(f"/proc/{scanning.pid}/task/{scanning.pid}/children").read_text().split()]
    scanning.end()

    def alive(pid: int) -> bool:
        try:
            return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
        except OSError:
            return False

    eventually(lambda: not any(map(alive, below)), "the readers have ended")


def test_a_decoder_that_takes_too_much_memory_makes_its_file_corrupt_and_the_rest_goes_on(
    write, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [write("jazz/greedy.flac"), write("jazz/fine.flac")]
    monkeypatch.setattr(reader_pool, "COMMAND", [sys.executable, "-c", GREEDY])
    found = dict(reader_pool.read_all(enumerate(files), 1))
    assert {number: facts.reason for number, facts in found.items()} == {0: "corrupt", 1: None}
