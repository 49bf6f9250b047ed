"""No secret prints, neither in a repr nor in an error."""

import os
import traceback
from collections.abc import Callable

import numpy as np
import pytest

from sottovoce.errors import ProtocolError
from sottovoce.protocol.keys import RunKey
from sottovoce.protocol.messages import CrossCheckRequest
from sottovoce.protocol.saved_state import Saved
from sottovoce.protocol.seal import unseal
from sottovoce_simulations.engine.in_process_rounds import InMemoryRounds


def spellings(secret: bytes) -> list[str]:
    """The ways in which some bytes could show."""
    inner = repr(secret)[2:-1]
    return [secret.hex(), inner, str(int.from_bytes(secret)), str(list(secret))]


def shows(text: str, secret: bytes) -> bool:
    return any(spelling in text for spelling in spellings(secret))


def test_this_test_would_notice() -> None:
    secret = os.urandom(32)
    assert shows(f"Key(private={secret!r})", secret)
    assert shows(secret.hex(), secret)


def test_keys_states_and_shares_never_print(make_table: Callable[..., InMemoryRounds]) -> None:
    table = make_table(3)
    participant = table.participants["label-000"]
    printed = []

    def note() -> None:
        printed.append(repr(participant))
        printed.append(repr(participant._stage))
        printed.append(repr(Saved.from_bytes(participant.to_bytes())))

    note()
    request = table.request(1, 3)
    for member in table.participants.values():
        member.accept(request, bytes(32))
    note()
    for member in table.participants.values():
        report = member.report(np.zeros(3, np.uint32))
        printed.append(repr(report))
        table.aggregator.receive(report)
    own = participant._stage.progress.own  # type: ignore[union-attr]
    note()
    for label, check in table.aggregator.close_reports().items():
        assert isinstance(check, CrossCheckRequest)
        table.aggregator.receive(table.participants[label].cross_check(check))
    note()
    requests = table.aggregator.close_cross_check()
    shares = [table.participants[label].unmask(unmask) for label, unmask in requests.items()]
    printed += [repr(item) for item in (*requests.values(), *shares)]
    pairs = participant._stage.pairs  # type: ignore[union-attr]
    secrets = [own, *(item.values[0] for item in shares), *pairs.links.values(), pairs.round_key("label-001", 1)]
    assert len(secrets) >= 7
    for text in printed:
        assert not any(shows(text, secret) for secret in secrets)


def test_nothing_of_a_set_up_prints_its_secrets() -> None:
    table = InMemoryRounds(3)
    table.advertise()
    participant = table.participants["label-000"]
    stage = participant._stage
    secrets, printed = [stage.key.private_bytes(), stage.nonce], []  # type: ignore[union-attr]
    for step in (table.aggregator.fix_members, table.aggregator.close_reveals):
        printed += [repr(participant._stage), repr(Saved.from_bytes(participant.to_bytes()))]
        for label, asked in step().items():
            table.aggregator.receive(table.participants[label].answer(asked))
    keyed = participant._stage
    secrets += [*keyed.secrets.values(), *keyed.agreed.values()]  # type: ignore[union-attr]
    printed += [repr(keyed), repr(Saved.from_bytes(participant.to_bytes()))]
    assert len(secrets) == 4
    for text in printed:
        assert not any(shows(text, secret) for secret in secrets)


def test_a_run_key_hides_its_private_part() -> None:
    key = RunKey.generate()
    assert not shows(repr(key), key.private_bytes())


def test_errors_tell_no_secret() -> None:
    key, box = os.urandom(32), os.urandom(60)
    with pytest.raises(ProtocolError) as caught:
        unseal(key, box, commitment=bytes(32), header=b"header")
    text = "".join(traceback.format_exception(caught.value))
    assert not shows(text, key)
