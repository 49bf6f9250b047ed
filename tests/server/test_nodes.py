"""Which labels' nodes the SuperLink's database knows, as the agreement changes."""

import pytest
from flwr.superlink.config_loader import get_objectstore_linkstate_factories
from flwr.superlink.federation.noop_federation_manager import NoOpFederationManager

from sottovoce_server.flower.superlink import _know_only


@pytest.fixture
def state(tmp_path):
    return get_objectstore_linkstate_factories(str(tmp_path / "superlink.sqlite"), NoOpFederationManager())[1].state()


def known(state):
    """Number and status by key."""
    return {node.public_key: (node.node_id, node.status) for node in state.get_node_info()}


def test_a_label_that_left_and_is_back_has_its_number_again(state):
    """`make soak`: `server start` ended with "Public key already in use" for good."""
    _know_only(state, {b"east", b"north"})
    before = known(state)
    _know_only(state, {b"north"})
    assert known(state)[b"east"][1] == "unregistered"
    _know_only(state, {b"east", b"north", b"south"})
    after = known(state)
    assert {key: after[key] for key in before} == before
    assert after[b"south"][1] == "registered"
