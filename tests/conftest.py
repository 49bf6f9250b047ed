"""What holds for all tests."""

import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def no_plug_is_pulled():
    """What is flushed need not reach the disk: a killed process loses nothing of it, only a dead machine would.

    That it is flushed, and before what, is seen in `federation/test_state.py` and `privacy/test_ledger.py`.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: os.fstat(handle) and None)
        yield
