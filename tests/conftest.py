"""What holds for all tests."""

import os
from collections.abc import Callable
from typing import Any

import pytest

from sottovoce.run.configuration import RunConfiguration


@pytest.fixture(autouse=True, scope="session")
def no_plug_is_pulled():
    """What is flushed need not reach the disk: a killed process loses nothing of it, only a dead machine would.

    That it is flushed, and before what, is seen in `federation/test_state.py` and `privacy/test_ledger.py`.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: os.fstat(handle) and None)
        yield


@pytest.fixture
def ledgers_wait_for_no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite has its own way to flush: where many rounds are run, ledgers' transactions do without, too."""
    from sottovoce_client.budget.ledger import Ledger

    opened = Ledger.__init__

    def init(ledger: Ledger, *arguments: Any, **options: Any) -> None:
        opened(ledger, *arguments, **options)
        ledger._database.execute("PRAGMA synchronous = OFF")

    init.__kwdefaults__ = opened.__kwdefaults__
    monkeypatch.setattr(Ledger, "__init__", init)


@pytest.fixture(scope="session")
def run_configuration() -> Callable[..., RunConfiguration]:
    """Makes a small, private run of the linear model; keywords change its knobs."""

    def make(**changes: Any) -> RunConfiguration:
        knobs: dict[str, Any] = {
            "classes": ("fugue", "reel"),
            "feature_spec": "0" * 64,
            "distributed": None,
            "rounds": 3,
            "local_steps": 1,
            "batch_size": 8,
            "learning_rate": 0.1,
            "momentum": 0.0,
            "max_grad_norm": 1.0,
            "segments_per_track": 1,
            "update_clip": 1.0,
            "ring_bits": 32,
            "server_optimizer": "fedavg",
            "server_learning_rate": 1.0,
            "seed": 0,
        }
        return RunConfiguration(**(knobs | changes))

    return make
