"""A second implementation, written from docs/protocol.md alone, plays whole rounds with the real one."""

import sys
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sottovoce.protocol.messages import Message, ReportRequest, decode
from sottovoce.protocol.participant import Participant
from sottovoce_simulations.engine.in_process_rounds import PARAMETERS_DIGEST, InMemoryRounds, plain_config

sys.path.insert(0, str(Path(__file__).parent))
import independent
import independent_coordinator

ELEMENTS = 5


def key_of(table: InMemoryRounds, label: str) -> Ed25519PrivateKey:
    return table.identities[label]._private


@pytest.mark.parametrize("source", ["independent.py", "independent_coordinator.py"])
def test_it_imports_nothing_of_ours_and_is_short(source: str) -> None:
    text = (Path(__file__).parent / source).read_text()
    assert "sottovoce." not in text.replace("Sottovoce is", "")
    assert "import sottovoce" not in text
    assert len(text.splitlines()) <= 310


@pytest.mark.parametrize(
    ("labels", "gone"),
    [(3, ()), (5, ("label-003",)), (5, ("label-000",)), pytest.param(70, ("label-009",), marks=pytest.mark.slow)],
)
def test_an_independent_label_takes_part_in_real_rounds(labels: int, gone: tuple[str, ...]) -> None:
    table = InMemoryRounds(labels)
    aggregator, stranger = table.aggregator, "label-001"
    other = independent.Label(stranger, key_of(table, stranger))
    table.advertise(label for label in table.identities if label != stranger)
    aggregator.receive(decode(other.answer(aggregator.announcement.encode())))

    def exchange(requests: dict[str, Message]) -> None:
        for label, request in requests.items():
            if label == stranger:
                aggregator.receive(decode(other.answer(request.encode())))
            else:
                aggregator.receive(table.participants[label].answer(request))

    for step in (aggregator.fix_members, aggregator.close_reveals, aggregator.close_ciphertexts):
        exchange(step())  # type: ignore[arg-type]
    for number in (1, 2, 3):
        exchange(aggregator.prepare_requests(number))  # type: ignore[arg-type]
        ready = aggregator.ready(number)
        assert set(ready) == set(table.identities)
        request = table.request(number, ELEMENTS)
        silent = gone if number == 2 else ()
        for label in ready:
            vector = np.full(ELEMENTS, number * int(label[-3:]), np.uint32)
            if label == stranger:
                aggregator.receive(decode(other.answer(request.encode(), vector)))
            elif label not in silent:
                table.participants[label].accept(request, PARAMETERS_DIGEST)
                aggregator.receive(table.participants[label].report(vector))
        exchange(aggregator.close_reports())  # type: ignore[arg-type]
        exchange(aggregator.close_cross_check())  # type: ignore[arg-type]
        total = aggregator.finish()
        assert stranger in total.survivors
        assert total.vector.tolist() == [number * sum(int(label[-3:]) for label in total.survivors)] * ELEMENTS
    assert not aggregator.liars
    assert not aggregator.disputes


@pytest.mark.parametrize(("labels", "gone"), [(3, []), (5, ["label-003"]), (7, ["label-000", "label-006"])])
def test_an_independent_coordinator_opens_sums_of_real_labels_and_its_own(labels: int, gone: list[str]) -> None:
    table = InMemoryRounds(labels)
    stranger = "label-001"
    other = independent.Label(stranger, key_of(table, stranger))
    vectors = {label: np.arange(ELEMENTS, dtype=np.uint32) * int(label[-3:]) for label in table.identities}

    def ask(label: str, data: bytes) -> bytes:
        if label == stranger:
            return other.answer(data, vectors[label].copy())
        message = decode(data)
        if message.TYPE == 1:
            table.participants[label], advert = Participant.join(
                message,  # type: ignore[arg-type]
                label=label,
                identity=table.identities[label],
                agreement=table.agreement,
                epsilon=8.0,
                delta=1e-5,
            )
            return advert.encode()
        participant = table.participants[label]
        if isinstance(message, ReportRequest):
            participant.accept(message, PARAMETERS_DIGEST)
            return participant.report(vectors[label].copy()).encode()
        return participant.answer(message).encode()

    configuration = plain_config(32).to_bytes()
    session, prepared = independent_coordinator.set_up(
        ask, sorted(table.identities), table.agreement.digest, configuration
    )
    total = independent_coordinator.play(ask, session, 1, prepared, gone, ELEMENTS, PARAMETERS_DIGEST)
    assert total.tolist() == sum(vector for label, vector in vectors.items() if label not in gone).tolist()  # type: ignore[union-attr]
