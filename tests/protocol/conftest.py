"""A table of labels for each test."""

from collections.abc import Callable

import pytest

from sottovoce_simulations.engine.in_process_rounds import InMemoryRounds

MakeTable = Callable[..., InMemoryRounds]


@pytest.fixture
def make_table() -> MakeTable:
    def make(labels: int = 4, **options: object) -> InMemoryRounds:
        table = InMemoryRounds(labels, **options)  # type: ignore[arg-type]
        table.join()
        return table

    return make
