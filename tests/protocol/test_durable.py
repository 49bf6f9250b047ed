"""A label's state on disk: it resumes, loses nothing, and is never used by another label."""

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from sottovoce.canonical import canonical_json
from sottovoce.errors import LocalProtocolError
from sottovoce.protocol import violations
from sottovoce.protocol.messages import CrossCheckRequest
from sottovoce.protocol.participant import Participant
from sottovoce.protocol.saved_state import Saved
from sottovoce.protocol.states import Phase
from sottovoce_simulations.engine.in_process_rounds import InMemoryRounds

MakeTable = Callable[..., InMemoryRounds]
ME = "label-000"


def restart(table: InMemoryRounds) -> None:
    """Every label is switched off and on again."""
    for label, participant in table.participants.items():
        data = participant.to_bytes()
        table.participants[label] = Participant.from_bytes(
            data, identity=table.identities[label], agreement=table.agreement
        )
        assert table.participants[label].to_bytes() == data


@pytest.mark.usefixtures("small_committee")
@pytest.mark.parametrize("labels", [4, 12])
def test_labels_may_restart_at_every_step(labels: int) -> None:
    table = InMemoryRounds(labels)
    table.advertise()
    for step in (table.aggregator.fix_members, table.aggregator.close_reveals, table.aggregator.close_ciphertexts):
        restart(table)
        for label, asked in step().items():
            table.aggregator.receive(table.participants[label].answer(asked))
    restart(table)
    request = table.request(1, 3)
    for participant in table.participants.values():
        participant.accept(request, bytes(32))
    restart(table)
    for participant in table.participants.values():
        table.aggregator.receive(participant.report(np.ones(3, np.uint32)))
    restart(table)
    for label, check in table.aggregator.close_reports().items():
        assert isinstance(check, CrossCheckRequest)
        table.aggregator.receive(table.participants[label].cross_check(check))
    restart(table)
    for label, unmask in table.aggregator.close_cross_check().items():
        table.aggregator.receive(table.participants[label].unmask(unmask))
    restart(table)
    assert table.aggregator.finish().vector.tolist() == [labels] * 3
    participant = table.participants[ME]
    assert participant.config == table.aggregator.config
    with pytest.raises(violations.StaleRound):
        participant.accept(request, bytes(32))


def test_two_reports_out_of_one_rolled_back_state_share_no_mask(make_table: MakeTable) -> None:
    """A restored backup answers a round again; the self-mask and every sealing are fresh."""
    table = make_table(3)
    participant = table.participants[ME]
    participant.accept(table.request(1, 8), bytes(32))
    backup = participant.to_bytes()
    reports = [
        Participant.from_bytes(backup, identity=table.identities[ME], agreement=table.agreement).report(
            np.zeros(8, np.uint32)
        )
        for _ in range(2)
    ]
    assert reports[0].vector != reports[1].vector
    assert reports[0].commitment[:12] != reports[1].commitment[:12]  # the nonce of every box in it
    assert reports[0].following.commitment[:12] != reports[1].following.commitment[:12]


@pytest.fixture
def saved(make_table: MakeTable) -> tuple[InMemoryRounds, bytes]:
    table = make_table(3)
    participant = table.participants[ME]
    participant.accept(table.request(1, 3), bytes(32))
    participant.report(np.zeros(3, np.uint32))
    return table, participant.to_bytes()


def test_damaged_bytes_are_refused(saved: tuple[InMemoryRounds, bytes]) -> None:
    table, data = saved
    for size in [*range(0, len(data), 7), len(data) - 1]:
        with pytest.raises(LocalProtocolError, match="saved state"):
            Participant.from_bytes(data[:size], identity=table.identities[ME], agreement=table.agreement)
    for changed in (data + b"\x00", b""):
        with pytest.raises(LocalProtocolError, match="saved state"):
            Participant.from_bytes(changed, identity=table.identities[ME], agreement=table.agreement)


def test_bytes_after_a_state_are_refused_even_under_their_checksum(saved: tuple[InMemoryRounds, bytes]) -> None:
    table, data = saved
    longer = data[:-32] + b"\x00"
    with pytest.raises(LocalProtocolError, match="saved state"):
        Participant.from_bytes(
            longer + hashlib.sha256(longer).digest(), identity=table.identities[ME], agreement=table.agreement
        )


@pytest.mark.parametrize("phase", [Phase.INVITED, Phase.REVEALING, Phase.UNMASKING])
def test_a_state_in_a_phase_that_is_never_saved_is_refused(saved: tuple[InMemoryRounds, bytes], phase: Phase) -> None:
    state = replace(Saved.from_bytes(saved[1]), phase=phase)
    with pytest.raises(LocalProtocolError, match="phase that cannot be saved"):
        state.stage(3)


def test_every_changed_byte_is_noticed(saved: tuple[InMemoryRounds, bytes]) -> None:
    table, data = saved
    for place in range(0, len(data), 3):
        changed = bytearray(data)
        changed[place] ^= 0x55
        with pytest.raises(LocalProtocolError, match="saved state"):
            Participant.from_bytes(bytes(changed), identity=table.identities[ME], agreement=table.agreement)


def test_another_labels_state_is_refused(saved: tuple[InMemoryRounds, bytes]) -> None:
    table, data = saved
    with pytest.raises(LocalProtocolError, match="another label or another agreement"):
        Participant.from_bytes(data, identity=table.identities["label-001"], agreement=table.agreement)
    other = replace(copy.copy(table.agreement), cross_check=False)
    with pytest.raises(LocalProtocolError, match="another agreement"):
        Participant.from_bytes(data, identity=table.identities[ME], agreement=other)


def test_a_state_of_another_version_is_refused_with_a_way_out(saved: tuple[InMemoryRounds, bytes]) -> None:
    table, data = saved
    old = b"SoVs\x01" + data[5:-32]
    with pytest.raises(LocalProtocolError, match="has version 1; this release reads 2 and 3") as caught:
        Participant.from_bytes(
            old + hashlib.sha256(old).digest(), identity=table.identities[ME], agreement=table.agreement
        )
    assert caught.value.hint is not None
    assert "sottovoce label close" in caught.value.hint


def test_a_stolen_state_opens_no_round_before_the_one_it_is_in(make_table: MakeTable) -> None:
    """The chain of a pair's keys goes one way, and its private keys are gone once the set-up is over."""
    table = make_table(3)
    states, keys = [], []
    for number in (1, 2, 3):
        pairs = table.participants[ME]._stage.pairs  # type: ignore[union-attr]
        keys.append(pairs.round_key("label-001", number))
        table.report(table.request(number, 3), {label: np.ones(3, np.uint32) for label in table.participants})
        states.append(table.participants[ME]._stage.pairs)  # type: ignore[union-attr]
        table.unmask()
    stolen = states[2]
    assert stolen.at == 3
    assert stolen.round_key("label-001", 3) == keys[2]
    assert not {*states[0].links.values(), *states[1].links.values()} & set(stolen.links.values())
    assert not any(key in table.participants[ME].to_bytes() for key in (*keys, *states[0].links.values()))


def test_a_state_of_a_run_that_names_no_first_parameters_is_refused_with_the_way_out() -> None:
    """Those of the version before: without their digest there is nothing that a label could follow."""
    table = InMemoryRounds(3)
    table.join()
    saved = Saved.from_bytes(table.participants[ME].to_bytes())
    values = json.loads(saved.config)
    del values["first_parameters"]
    data = replace(saved, config=canonical_json(values)).to_bytes()
    with pytest.raises(LocalProtocolError, match="another version") as caught:
        Participant.from_bytes(data, identity=table.identities[ME], agreement=table.agreement)
    assert "sottovoce label close RUN" in (caught.value.hint or "")
