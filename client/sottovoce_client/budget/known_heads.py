"""What a home knows of its ledger beside the ledger itself: heads in run states and in the diary.

A ledger that lacks one of these rows is an older copy: it holds less than what was spent. An older copy of the whole
home, with run states and diary, is not detected here.
"""

import re
from collections.abc import Iterator
from contextlib import suppress

from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.budget.rows import Head
from sottovoce_client.home.label_home import LabelHome

_FIELD = b'"ledger":'
"""Beginning of a head in canonical JSON. Text of others cannot contain it: its quotes are escaped."""
_HEAD = re.compile(re.escape(_FIELD) + rb'\[(\d{1,18}),"([0-9a-f]{64})"\]')
_BEGINNING = 1 << 16
"""Bytes of a run's state that hold its head: what follows may be as long as the model."""


def known_heads(home: LabelHome) -> tuple[Head, ...]:
    """Heads that the home's run states, and the newest note with one in its diary, name."""
    return tuple(dict.fromkeys((*_of_states(home), *_of_diary(home))))


def open_ledger(home: LabelHome) -> Ledger:
    """The home's ledger, which must hold every row that the home knows of.

    Raises:
        LedgerError: it is an older copy, missing, unreadable, damaged or was tampered with.
    """
    heads = known_heads(home)
    ledger = Ledger(home.ledger_file)
    try:
        for head in heads:
            ledger.expect(head)
    except BaseException:
        ledger.close()
        raise
    return ledger


def _of_states(home: LabelHome) -> Iterator[Head]:
    for path in home.runs.glob("[!.]*.json"):
        with suppress(FileNotFoundError), path.open("rb") as file:
            match = _HEAD.search(file.read(_BEGINNING))
            if match:
                yield _head(match)


def _of_diary(home: LabelHome) -> Iterator[Head]:
    """Searched from its end: a diary has megabytes, and its newest heads are among its newest notes."""
    with suppress(FileNotFoundError):
        data = home.diary.file.read_bytes()
        at = len(data)
        while (at := data.rfind(_FIELD, None, at)) != -1:
            match = _HEAD.match(data, at)
            if match:
                yield _head(match)
                return


def _head(match: "re.Match[bytes]") -> Head:
    return Head(int(match[1]), bytes.fromhex(match[2].decode()))
