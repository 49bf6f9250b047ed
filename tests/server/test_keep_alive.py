"""What starts the coordinator's app is kept alive for as long as the SuperLink serves, and no longer."""

import importlib
import sys
from pathlib import Path
from threading import Event, Thread

import pytest

from sottovoce_server.flower import superlink


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Starts keeping a process that writes its pid into a file and then behaves as requested; returns the pids."""
    monkeypatch.setattr(superlink, "PAUSE", 0.0)
    stop, threads = Event(), []
    file = tmp_path / "numbers"

    def numbers():
        return file.read_text().split() if file.exists() else []

    def start(then):
        code = f"import os, time; print(os.getpid(), file=open({str(file)!r}, 'a')); {then}"
        threads.append(Thread(target=superlink._keep_alive, args=([sys.executable, "-S", "-c", code], stop)))
        threads[0].start()
        return numbers, stop, threads[0]

    yield start
    stop.set()
    threads[0].join()


def test_it_is_started_again_whenever_it_ends(kept, eventually):
    numbers, _, _ = kept("raise SystemExit(1)")
    eventually(lambda: len(numbers()) >= 3, "it has started three times")
    assert len(set(numbers())) == len(numbers())


def test_it_ends_with_the_superlink(kept, eventually):
    numbers, stop, thread = kept("time.sleep(600)")
    eventually(numbers, "it has started")
    stop.set()
    thread.join(600)
    assert not thread.is_alive()
    (number,) = numbers()
    assert not Path(f"/proc/{number}").exists()


def test_what_stops_it_is_said_in_words(monkeypatch, capsys):
    """Seed 12 of `make soak`: with a full disk, a traceback of Flower's was in the coordinator's log."""
    module = importlib.import_module("flwr.supercore.cli.flower_superexec")
    monkeypatch.setattr(module, "flower_superexec", lambda: (_ for _ in ()).throw(OSError("the disk is full")))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(OSError, match="full") as raised:
        exec(superlink._SUPEREXEC, {})
    sys.excepthook(raised.type, raised.value, raised.tb)
    assert capsys.readouterr().err == "OSError: the disk is full\n"
