"""A table of labels for each test."""

from collections.abc import Callable, Iterator

import pytest

from sottovoce.protocol import assembly, session, topology
from sottovoce_simulations.engine.in_process_rounds import InMemoryRounds

MakeTable = Callable[..., InMemoryRounds]


@pytest.fixture
def make_table() -> MakeTable:
    def make(labels: int = 4, **options: object) -> InMemoryRounds:
        table = InMemoryRounds(labels, **options)  # type: ignore[arg-type]
        table.join()
        return table

    return make


@pytest.fixture
def small_committee(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Six labels hold the shares of a larger run, and above eight not everyone masks against everyone."""
    for module in (topology, session, assembly):
        monkeypatch.setattr(module, "COMMITTEE", 6)
    monkeypatch.setattr(topology, "ALL_PARTNERS", 8)
    topology.share_threshold.cache_clear()
    yield
    topology.share_threshold.cache_clear()
