"""The table of labels that tests of the protocol have."""

from tests.protocol.conftest import make_table

__all__ = ["make_table"]
