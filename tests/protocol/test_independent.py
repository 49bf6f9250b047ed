"""A second implementation, written from docs/protocol.md alone, plays whole rounds with the real one."""

import sys
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sottovoce.federation.identity import Identity
from sottovoce.protocol.adverts import roster_of
from sottovoce.protocol.messages import Message, ReportRequest, RunOver, Versions, decode
from sottovoce.protocol.participant import Participant
from sottovoce.protocol.versions import Negotiation
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
    assert len(text.splitlines()) <= 320


@pytest.mark.parametrize(
    ("labels", "gone", "version"),
    [
        (3, (), 2),
        (5, ("label-003",), 2),
        (5, ("label-000",), 3),
        pytest.param(70, ("label-009",), 3, marks=pytest.mark.slow),
    ],
)
def test_an_independent_label_takes_part_in_real_rounds(labels: int, gone: tuple[str, ...], version: int) -> None:
    """A label of version 2 stands for the former release: it knows nothing of version 3."""
    table = InMemoryRounds(labels)
    aggregator, stranger = table.aggregator, "label-001"
    other = independent.Label(stranger, key_of(table, stranger), newest=version)
    aggregator.announced_in(version)
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


@pytest.mark.parametrize(
    ("labels", "gone", "version"), [(3, [], 2), (5, ["label-003"], 3), (7, ["label-000", "label-006"], 2)]
)
def test_an_independent_coordinator_opens_sums_of_real_labels_and_its_own(
    labels: int, gone: list[str], version: int
) -> None:
    """With version 2 the coordinator is of the former release, and the labels are not."""
    table = InMemoryRounds(labels)
    stranger = "label-001"
    other = independent.Label(stranger, key_of(table, stranger), newest=version)
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
        ask, sorted(table.identities), table.agreement.digest, configuration, version
    )
    total = independent_coordinator.play(ask, session, 1, prepared, gone, ELEMENTS, PARAMETERS_DIGEST)
    assert total.tolist() == sum(vector for label, vector in vectors.items() if label not in gone).tolist()  # type: ignore[union-attr]


def test_an_independent_label_says_which_versions_it_speaks_and_learns_that_a_run_is_over() -> None:
    table, coordinator = InMemoryRounds(3), Identity.generate()
    stranger, run = "label-001", table.aggregator.announcement.run
    other = independent.Label(stranger, key_of(table, stranger), newest=3, coordinator=coordinator.public_key)
    negotiation = Negotiation(run, table.agreement.digest, roster_of(table.agreement))
    answer = decode(other.answer(negotiation.request.encode()))
    assert isinstance(answer, Versions)
    negotiation.take(answer)
    assert negotiation.spoken_by(stranger) == range(2, 4)
    known = {"run": run, "agreement": table.agreement.digest, "round": 3, "parameters_digest": bytes(32)}
    for version in (2, 3):
        over = RunOver.sign(coordinator, **known, version=version).encode()
        assert other.answer(over) == over
