"""Cost of masked rounds: a label's report step compared with Flower's SecAgg+, keystream, memory, and unmasking.

`python -m benchmarks.masking` prints the figures; `run()` returns them.
"""

import json
import os
import statistics
import time
import tracemalloc
from collections.abc import Callable
from functools import partial

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from flwr.common.secure_aggregation.crypto.shamir import create_shares
from flwr.common.secure_aggregation.crypto.symmetric_encryption import encrypt, generate_shared_key
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    factor_combine,
    parameters_addition,
    parameters_mod,
    parameters_multiply,
    parameters_subtraction,
)
from flwr.common.secure_aggregation.quantization import quantize
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen, share_keys_plaintext_concat
from flwr.compat.common.parameter import ndarray_to_bytes
from flwr.supercore.primitives.asymmetric import generate_key_pairs, private_key_to_bytes
from numpy.typing import NDArray

from sottovoce.protocol.layout import VectorLayout
from sottovoce.protocol.participant import Participant
from sottovoce.protocol.prg import CHUNK_BYTES, add_masks
from sottovoce.protocol.topology import threshold
from sottovoce.run.configuration import RING_BITS
from sottovoce_simulations.engine.in_process_rounds import PARAMETERS_DIGEST, InMemoryRounds

LABELS = 10
PARAMETERS = 1_000_000
LARGE = 10_000_000
REPETITIONS = 9
QUICK_REPETITIONS = 31  # for steps of milliseconds, which load on the machine disturbs
NO_COUNTERS = np.zeros(0, np.int64)

# Defaults of Flower's SecAggPlusWorkflow.
CLIPPING_RANGE = 8.0
TARGET_RANGE = 1 << 22
MODULUS = 1 << 32
MAX_WEIGHT = 1000.0


def milliseconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return 1000 * (time.perf_counter() - started)


def some_update(parameters: int) -> NDArray[np.float32]:
    generator = np.random.default_rng(0)
    return generator.standard_normal(parameters, np.float32) / np.float32(np.sqrt(parameters))


class OurLabel:
    """A label that accepts the same round repeatedly."""

    def __init__(self, parameters: int, ring_bits: int = 32) -> None:
        table = InMemoryRounds(LABELS, ring_bits=ring_bits)
        table.join()
        self.layout = VectorLayout(parameters, 0, ring_bits, LABELS, 1.0)
        label, participant = next(iter(table.participants.items()))
        participant.accept(table.request(1, self.layout.elements), PARAMETERS_DIGEST)
        self._accepted = participant.to_bytes()
        self._restore = lambda: Participant.from_bytes(
            self._accepted, identity=table.identities[label], agreement=table.agreement
        )
        self.prepare()

    def prepare(self) -> None:
        self._participant = self._restore()

    def report(self, update: NDArray[np.float32]) -> bytes:
        """Quantise, agree on keys, mask, share, seal, sign, serialise."""
        return self._participant.report(self.layout.encode(update, NO_COUNTERS)).encode()


class FlowersLabel:
    """The same stages with Flower's own SecAgg+ client (`flwr.client.mod.secure_aggregation.secaggplus_mod`)."""

    def __init__(self) -> None:
        self._mine = generate_key_pairs()[0]
        self._others = [generate_key_pairs()[1] for _ in range(LABELS - 1)]

    def report(self, update: NDArray[np.float32]) -> bytes:
        seed = os.urandom(32)
        seed_shares = create_shares(seed, threshold(LABELS), LABELS)
        key_shares = create_shares(private_key_to_bytes(self._mine), threshold(LABELS), LABELS)
        boxes = [
            encrypt(
                generate_shared_key(self._mine, other),
                share_keys_plaintext_concat(0, place, seed_shares[place], key_shares[place]),
            )
            for place, other in enumerate(self._others, 1)
        ]
        factor = round(TARGET_RANGE / MAX_WEIGHT)
        parameters = parameters_multiply([update], factor / TARGET_RANGE)
        quantised = factor_combine(factor, quantize(parameters, CLIPPING_RANGE, TARGET_RANGE))
        shapes = [array.shape for array in quantised]
        quantised = parameters_addition(quantised, pseudo_rand_gen(seed, MODULUS, shapes))
        for place, other in enumerate(self._others):
            mask = pseudo_rand_gen(generate_shared_key(self._mine, other), MODULUS, shapes)
            combine = parameters_addition if place % 2 else parameters_subtraction
            quantised = combine(quantised, mask)
        masked = parameters_mod(quantised, MODULUS)
        return b"".join([*(ndarray_to_bytes(array) for array in masked), *boxes])


def report_step() -> dict[str, float]:
    """The whole report step of both, alternating; medians."""
    update, ours, flowers = some_update(PARAMETERS), OurLabel(PARAMETERS), FlowersLabel()
    our_times, flowers_times = [], []
    for _ in range(REPETITIONS):
        ours.prepare()
        our_times.append(milliseconds(lambda: ours.report(update)))
        flowers_times.append(milliseconds(lambda: flowers.report(update)))
    mine, theirs = statistics.median(our_times), statistics.median(flowers_times)
    return {
        "ours_ms": mine,
        "flower_ms": theirs,
        "times_faster": theirs / mine,
        "flower_bytes_per_parameter": len(flowers.report(update)) / PARAMETERS,
    }


def mask_expansion() -> dict[str, float]:
    """Expanding and adding a label's ten masks, compared with discarding the same keystream."""
    vector, zeros, buffer = np.zeros(PARAMETERS, np.uint32), bytes(CHUNK_BYTES), bytearray(CHUNK_BYTES)
    seeds = [os.urandom(32) for _ in range(LABELS)]

    def keystream() -> None:
        for seed in seeds:
            stream = Cipher(AES(seed), CTR(bytes(16))).encryptor()
            for start in range(0, vector.nbytes, CHUNK_BYTES):
                stream.update_into(memoryview(zeros)[: vector.nbytes - start], buffer)

    masks, raw = [], []
    for _ in range(QUICK_REPETITIONS):
        masks.append(milliseconds(lambda: add_masks(vector, plus=seeds)))
        raw.append(milliseconds(keystream))
    return {
        "ten_masks_ms": statistics.median(masks),
        "keystream_ms": statistics.median(raw),
        "ratio": statistics.median(masks) / statistics.median(raw),
    }


def upload() -> dict[str, float]:
    """Size of a label's encoded report, and of the same vector as float32, bytes."""
    update = some_update(PARAMETERS)
    return {str(bits): len(OurLabel(PARAMETERS, bits).report(update)) / update.nbytes for bits in RING_BITS}


def memory() -> dict[str, float]:
    """Peak memory of the report step at ten million parameters, including the update, in sizes of the update."""
    peaks = {}
    for bits in RING_BITS:
        label = OurLabel(LARGE, bits)
        tracemalloc.start()
        update = some_update(LARGE)
        tracemalloc.reset_peak()
        label.report(update)
        peaks[str(bits)] = tracemalloc.get_traced_memory()[1] / update.nbytes
        tracemalloc.stop()
    return peaks


def unmasking() -> list[dict[str, float]]:
    """The coordinator's seconds to receive reports and to unmask them, by number of labels and drop-out rate."""
    rows = []
    for labels in (10, 50, 100):
        for dropped in (0.0, 0.1, 0.3):
            table = InMemoryRounds(labels)
            table.join()
            request = table.request(1, PARAMETERS)
            silent = frozenset(list(table.participants)[: round(dropped * labels)])
            taking = 0.0
            for label, participant in table.participants.items():
                if label not in silent:
                    participant.accept(request, PARAMETERS_DIGEST)
                    report = participant.report(np.zeros(PARAMETERS, np.uint32))
                    taking += milliseconds(partial(table.aggregator.receive, report))
            for label, check in table.aggregator.close_reports().items():
                table.aggregator.receive(table.participants[label].cross_check(check))
            for label, unmask in table.aggregator.close_cross_check().items():
                table.aggregator.receive(table.participants[label].unmask(unmask))
            seconds = milliseconds(table.aggregator.finish) / 1000
            rows.append(
                {"labels": labels, "dropped": dropped, "receive_seconds": taking / 1000, "unmask_seconds": seconds}
            )
    return rows


def overhead() -> list[dict[str, int]]:
    """Bytes that a label sends per round besides the vector: report including next preparation, and shares."""
    rows = []
    for labels in (10, 64, 65, 100):
        table = InMemoryRounds(labels)
        table.join()
        sent = {"report": 0, "shares": 0}
        table.report(table.request(1, 1), {label: np.zeros(1, np.uint32) for label in table.participants})
        label = table.aggregator.session.topology.holders[0]
        participant, request = table.participants[label], table.request(2, 1)
        for other in table.aggregator.participants:
            table.participants[other].accept(request, PARAMETERS_DIGEST)
            report = table.participants[other].report(np.zeros(1, np.uint32))
            sent["report"] = len(report.encode()) - 4
            table.aggregator.receive(report)
        for other, check in table.aggregator.close_reports().items():
            table.aggregator.receive(table.participants[other].answer(check))
        sent["shares"] = len(participant.answer(table.aggregator.close_cross_check()[label]).encode())
        rows.append({"members": labels, **sent})
    return rows


def run() -> dict[str, object]:
    """Every figure of masked rounds."""
    return {
        "overhead_bytes": overhead(),
        "report_step": report_step(),
        "mask_expansion": mask_expansion(),
        "upload_of_float32": upload(),
        "peak_memory_of_float32": memory(),
        "unmasking": unmasking(),
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
