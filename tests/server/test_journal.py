"""The journal is a chain: whatever is changed, inserted or removed shows."""

import json

import pytest

from sottovoce.canonical import canonical_json
from sottovoce.errors import ConfigurationError
from sottovoce.federation.identity import Identity
from sottovoce_server.home.journal import Journal


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl", Identity.generate())
    for number in range(5):
        journal.append("round", {"number": number})
    return journal


def lines(journal):
    return journal.path.read_bytes().splitlines(keepends=True)


def test_what_was_written_is_in_order(journal):
    entries = journal.verify()
    assert [entry.data["number"] for entry in entries] == list(range(5))
    assert [entry.number for entry in entries] == list(range(1, 6))


def test_an_empty_journal_is_in_order(tmp_path):
    assert Journal(tmp_path / "journal.jsonl", Identity.generate()).verify() == []


@pytest.mark.parametrize("index", range(5))
def test_a_removed_line_shows_unless_it_is_the_last(journal, index):
    newest = journal.verify()[-1].digest
    kept = lines(journal)
    del kept[index]
    journal.path.write_bytes(b"".join(kept))
    with pytest.raises(ConfigurationError, match=r"is not chained|has this digest"):
        journal.verify(newest)


@pytest.mark.parametrize("index", range(5))
@pytest.mark.parametrize("field", ["number", "time", "kind", "data", "previous", "signature"])
def test_a_changed_field_shows(journal, index, field):
    kept = lines(journal)
    values = json.loads(kept[index])
    other = {"number": 9, "time": "2020", "kind": "release", "data": {}, "previous": "1" * 64, "signature": "0" * 128}
    kept[index] = canonical_json(values | {field: other[field]}) + b"\n"
    journal.path.write_bytes(b"".join(kept))
    with pytest.raises(ConfigurationError, match=rf"Line {index + 1} "):
        journal.verify()


def test_swapped_and_repeated_lines_show(journal):
    kept = lines(journal)
    for forged in ([kept[1], kept[0], *kept[2:]], [*kept, kept[-1]]):
        journal.path.write_bytes(b"".join(forged))
        with pytest.raises(ConfigurationError, match="is not chained"):
            journal.verify()


@pytest.mark.parametrize("damage", [b"{}\n", b"\xff\n", b"[]\n", b"null\n", b"[" * 5000 + b"\n"])
def test_what_is_no_line_is_refused_and_nothing_is_added_after_it(journal, damage):
    damaged = journal.path.read_bytes() + damage
    journal.path.write_bytes(damaged)
    with pytest.raises(ConfigurationError):
        journal.verify()
    with pytest.raises(ConfigurationError):
        journal.append("round", {})
    assert journal.path.read_bytes() == damaged


def test_a_chain_by_another_key_is_refused(journal):
    other = Journal(journal.path, Identity.generate())
    with pytest.raises(ConfigurationError, match="changed after it was signed"):
        other.verify()
