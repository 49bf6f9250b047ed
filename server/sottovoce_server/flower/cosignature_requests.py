"""Requests to a run's labels to co-sign its release; each signs only what agrees with its own records."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from sottovoce.errors import ProtocolError
from sottovoce.federation.agreement import Agreement
from sottovoce.files import write_bytes
from sottovoce.release.cosigning import Cosignature, CosignRequest, NotAudited, NotCosigning, NotFollowed, OtherAccount
from sottovoce.release.manifest import MANIFEST_FILE, SIGNATURE_FILE
from sottovoce.release.signatures import Role, Signature, decode, encode
from sottovoce.run.records import FRAME, RECORD, Action
from sottovoce_server.flower.polling_grid import RETURN_PAUSE, RETURN_SECONDS
from sottovoce_server.rounds.history import RunHistory

LOG = getLogger(__name__)
PATIENCE = 60.0
"""Longest wait for answers to one request, in seconds: a release is valid without co-signatures, and a label can add
its own by hand."""
NO_ANSWER = "NoAnswer"
INVALID = "Invalid"
_REASONS = {
    NotCosigning.__name__: "its policy does not allow it",
    NotAudited.__name__: "it co-signs generators and editors by hand only",
    NotFollowed.__name__: "it did not follow the run to its end",
    OtherAccount.__name__: "its own records or weights differ",
}
WORDS = {**_REASONS, INVALID: "its answer was not its signature", NO_ANSWER: "it did not answer"}
"""Reasons why a label's signature is missing, in words."""


@dataclass(frozen=True)
class Cosigned:
    """Labels that signed a release, and reasons of those that did not.

    Args:
        labels: labels that signed, in ascending order.
        others: reason for each other label, one of `WORDS`.
    """

    labels: tuple[str, ...]
    others: Mapping[str, str]


def cosign(
    grid: Grid,
    release: Path,
    agreement: Agreement,
    *,
    run: bytes,
    nodes: Mapping[str, int],
    history: RunHistory,
    first: Callable[[], object] = lambda: None,
    timeout: float = PATIENCE,
) -> Cosigned:
    """Ask every label of a run for its signature, and add valid ones to the release.

    Args:
        grid: Flower's connection to the labels.
        release: the release's folder, signed by the coordinator.
        agreement: the federation's agreement.
        run: the run (16 bytes).
        nodes: Flower's node of each participating label.
        history: the run's history.
        first: called before each attempt, to tell labels that were away that the run is over.
        timeout: seconds to wait for answers, and for disconnected labels; at most `PATIENCE` and `RETURN_SECONDS`.

    Raises:
        ReleaseError: the release's signatures cannot be read.
        OSError: the release's manifest cannot be read.
    """
    manifest = (release / MANIFEST_FILE).read_bytes()
    coordinator = decode((release / SIGNATURE_FILE).read_bytes())[0]
    by_node = {node: label for label, node in nodes.items()}
    signed: dict[str, Signature] = {}
    others = dict.fromkeys(nodes, NO_ANSWER)
    deadline = time.monotonic() + min(timeout, RETURN_SECONDS)
    while True:
        first()
        unanswered = {nodes[label] for label, reason in others.items() if reason == NO_ANSWER}
        requests = [
            _request(CosignRequest(run, manifest, _rounds_of(by_node[node], history)), node)
            for node in sorted(unanswered.intersection(grid.get_node_ids()))
        ]
        for reply in _replies(grid, requests, min(timeout, PATIENCE)):
            label = by_node.get(reply.metadata.src_node_id)
            if label is None or label in signed:
                continue
            found = _signature(reply, label, agreement, run, manifest)
            if isinstance(found, Signature):
                signed[label] = found
                del others[label]
            else:
                others[label] = found
        if NO_ANSWER not in others.values() or time.monotonic() >= deadline:
            break
        time.sleep(RETURN_PAUSE)
    labels = tuple(sorted(signed))
    write_bytes(release / SIGNATURE_FILE, encode((coordinator, *(signed[label] for label in labels))))
    return Cosigned(labels, others)


def _rounds_of(label: str, history: RunHistory) -> tuple[int, ...]:
    return tuple(record.number for record in history.rounds if label in record.survivors)


def _request(request: CosignRequest, node: int) -> Message:
    content = RecordDict({RECORD: ConfigRecord({FRAME: request.to_bytes()})})
    return Message(content, dst_node_id=node, message_type=Action.COSIGN.value)


def _replies(grid: Grid, requests: list[Message], timeout: float) -> Iterable[Message]:
    return grid.send_and_receive(requests, timeout=timeout) if requests else ()


def _signature(reply: Message, label: str, agreement: Agreement, run: bytes, manifest: bytes) -> Signature | str:
    """The label's signature, or the name of the reason for its absence."""
    if reply.has_error():
        return reply.error.reason if reply.error.reason in _REASONS else NO_ANSWER
    key = agreement.key_of(label)
    try:
        frame = reply.content.config_records[RECORD][FRAME]
        if not isinstance(frame, bytes) or key is None:
            raise TypeError
        answer = Cosignature.from_bytes(frame)
    except (ProtocolError, KeyError, TypeError):
        LOG.warning("%s did not answer a co-signing request with a signature.", label)
        return INVALID
    signature = Signature(Role.LABEL, label, key, answer.signature)
    if (answer.run, answer.label) != (run, label) or not signature.holds(manifest):
        LOG.warning("The co-signature of %s is invalid.", label)
        return INVALID
    return signature
