"""A coordinator's home with enrolled labels."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sottovoce.federation.enrolment import Enrolment
from sottovoce.federation.identity import Identity
from sottovoce_client.home.node_key import NodeKey
from sottovoce_server.home.coordinator_home import ServerHome


def an_enrolment(name: str) -> Enrolment:
    return Enrolment.sign(Identity.generate(), name=name, node_key=NodeKey.generate().public, federation="isles")


@pytest.fixture
def enrolment_of() -> Callable[[str], Enrolment]:
    return an_enrolment


@pytest.fixture
def empty(tmp_path: Path) -> ServerHome:
    return ServerHome.create(tmp_path / "server", federation="isles", address="isles.example:9092")


@pytest.fixture
def home(empty: ServerHome) -> ServerHome:
    for name in ("east", "north", "south"):
        empty.enrol(an_enrolment(name))
    return empty
