"""A label's state of a run between messages: its plan, noisy class histogram, and protocol state.

In a deployment every message is answered by its own process, so everything is on disk, readable by the owner only, and
written before the answer that depends on it leaves: a label that crashes may miss an answer, but forgets nothing.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from sottovoce.canonical import canonical_json
from sottovoce.errors import LocalProtocolError
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.identity import Identity
from sottovoce.files import flush_folder, write_bytes
from sottovoce.privacy.distributed_gaussian import DistributedDiscreteGaussian
from sottovoce.privacy.events import HeldOutCounts
from sottovoce.privacy.plan import PrivacyPlan
from sottovoce.protocol.messages import CrossCheckRequest, ReportRequest, UnmaskRequest
from sottovoce.protocol.participant import Participant
from sottovoce.run.configuration import RunConfiguration, Trust, Unit
from sottovoce_client.budget.rows import Head

OWNER_ONLY = 0o600


@dataclass(frozen=True)
class Witnessed:
    """What a label observed of a round.

    Args:
        participants: number of labels that the round's request named.
        survivors: number of labels in the set that it signed or helped to unmask; 0 if there was none.
    """

    participants: int
    survivors: int = 0


@dataclass
class RunState:
    """One run at one label.

    Args:
        participant: the label's side of the masked rounds; it holds the run's secret key.
        plan: the privacy plan, fixed when the label joined; None in a run without privacy.
        histogram: noisy class counts, drawn once per run if classes are balanced; one number per class.
        sums: with banded matrix factorisation, the sums of the last rounds before noise, by round number. Later
            reports use them; they are as private as the tracks.
        witnessed: what the label observed of rounds whose sums it has not applied yet, by round number.
        ledger: head of the label's ledger after this run's latest charge; None in states of earlier releases.
    """

    participant: Participant = field(repr=False)
    plan: PrivacyPlan | None
    histogram: list[float] | None = None
    sums: dict[int, NDArray[np.int64]] = field(default_factory=dict, repr=False)
    witnessed: dict[int, Witnessed] = field(default_factory=dict)
    ledger: Head | None = None

    def asked(self, request: ReportRequest) -> None:
        """Record the participants of a round, once the earlier rounds are applied."""
        self.witnessed = {request.round: Witnessed(len(request.participants))}

    def survived(self, request: CrossCheckRequest | UnmaskRequest) -> None:
        """Record the number of survivors of a round, which this label has signed or unmasked."""
        seen = self.witnessed.get(request.round)
        if seen is not None:
            self.witnessed[request.round] = replace(seen, survivors=len(request.survivors))

    def remember(self, round_number: int, total: NDArray[np.int64]) -> None:
        """Keep a round's sum as long as reports need it."""
        self.sums[round_number] = total
        self.sums = {number: kept for number, kept in self.sums.items() if number > round_number - self._bands}

    def last_sums(self, round_number: int) -> list[NDArray[np.int64]]:
        """The sums that a round's report is computed from, oldest first; missed rounds are left out."""
        nothing = np.zeros_like(self.sums[round_number])
        numbers = range(max(1, round_number - self._bands + 1), round_number + 1)
        return [self.sums.get(number, nothing) for number in numbers]

    @property
    def keeps_sums(self) -> bool:
        """Whether a later report needs an earlier round's sum."""
        return self._bands > 1

    @property
    def _bands(self) -> int:
        return len(self.plan.mechanism.coefficients) if self.plan and self.plan.mechanism else 1

    @property
    def config(self) -> RunConfiguration:
        """The run's configuration, as it was announced and signed."""
        return self.participant.config


@dataclass(frozen=True)
class RunStates:
    """The folder of a label's unfinished runs.

    Args:
        folder: the folder.
        identity: the label's signing key.
        agreement: the agreement that the label has accepted.
        least_survivors: labels that the label's policy requires in a sum.
    """

    folder: Path
    identity: Identity
    agreement: Agreement
    least_survivors: int

    def _file(self, run: bytes) -> Path:
        return self.folder / f"{run.hex()}.json"

    @contextmanager
    def locked(self, run: bytes) -> Iterator[None]:
        """Lock a run across processes: two messages at once could answer a round twice."""
        with FileLock(self._lock(run), mode=OWNER_ONLY):
            yield

    def _lock(self, run: bytes) -> Path:
        return lock_of(self.folder, run)

    @contextmanager
    def joined(self, run: bytes) -> Iterator[None]:
        """`locked`, for a run that the label has joined; an unknown run leaves no trace.

        Raises:
            LocalProtocolError: the label has not joined the run.
        """
        if not self.exists(run):
            raise LocalProtocolError("This label has not joined the run.")
        with self.locked(run):
            yield

    def exists(self, run: bytes) -> bool:
        """Whether the label has joined this run."""
        return self._file(run).exists()

    def save(self, run: bytes, state: RunState) -> None:
        """Write the state; it is on disk when this returns."""
        values = {
            "participant": state.participant.to_bytes(),
            "plan": None if state.plan is None else asdict(state.plan),
            "histogram": state.histogram,
            # Without banded matrix factorisation, reports need no earlier sums.
            "sums": {number: kept.astype("<i8").tobytes() for number, kept in state.sums.items()}
            if state.keeps_sums
            else {},
            "witnessed": {number: asdict(seen) for number, seen in state.witnessed.items()},
            **({"ledger": state.ledger.to_json()} if state.ledger else {}),
            **({"met": state.participant.met} if state.participant.met else {}),
        }
        write_bytes(self._file(run), canonical_json(values), mode=OWNER_ONLY)

    def load(self, run: bytes) -> RunState:
        """Read the state of a run.

        Raises:
            LocalProtocolError: the label has not joined the run, or its saved state is damaged.
        """
        try:
            data = self._file(run).read_bytes()
        except FileNotFoundError:
            raise LocalProtocolError("This label has not joined the run.") from None
        try:
            return self._read(json.loads(data))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            raise LocalProtocolError(
                "This label's saved state of the run is damaged.", hint="Abandon the run: sottovoce label close RUN"
            ) from None

    def _read(self, values: dict[str, Any]) -> RunState:
        participant = Participant.from_bytes(
            bytes.fromhex(values["participant"]),
            identity=self.identity,
            agreement=self.agreement,
            least_survivors=self.least_survivors,
            met=int(values.get("met", 0)),
        )
        histogram = None if values["histogram"] is None else [float(count) for count in values["histogram"]]
        sums = {int(number): np.frombuffer(bytes.fromhex(kept), "<i8") for number, kept in values["sums"].items()}
        witnessed = {int(number): Witnessed(**seen) for number, seen in values["witnessed"].items()}
        number, digest = values.get("ledger", (0, ""))
        head = Head(int(number), bytes.fromhex(digest)) if number else None
        return RunState(participant, _plan(values["plan"]), histogram, sums, witnessed, head)

    def save_model(self, run: bytes, model: bytes) -> None:
        """Write the model that the label has computed; it is on disk when this returns."""
        write_bytes(_model_file(self.folder, run), model, mode=OWNER_ONLY)

    def model(self, run: bytes) -> bytes | None:
        """The model written by `save_model`; None before the label's first round."""
        try:
            return _model_file(self.folder, run).read_bytes()
        except FileNotFoundError:
            return None

    def forget(self, run: bytes) -> None:
        """Delete a finished run's state, including the run's secret key; it stays deleted after a power cut."""
        delete_state(self.folder, run)
        self._lock(run).unlink(missing_ok=True)


@contextmanager
def forget_run(folder: Path, run: bytes) -> Iterator[None]:
    """Delete a run's state if the block succeeds; meanwhile and afterwards, no message of the run is answered.

    Args:
        folder: folder of a label's unfinished runs.
        run: the run's id.
    """
    lock = lock_of(folder, run)
    with FileLock(lock, mode=OWNER_ONLY):
        yield
        delete_state(folder, run)
    lock.unlink(missing_ok=True)


def lock_of(folder: Path, run: bytes) -> Path:
    """The file that processes lock while they work on a run."""
    return folder / f".{run.hex()}.lock"


def delete_state(folder: Path, run: bytes) -> None:
    """Delete what a label keeps of a run, including the run's secret key; the caller holds its lock.

    It stays deleted after a power cut: nobody tells the label again that the run is over.
    """
    (folder / f"{run.hex()}.json").unlink(missing_ok=True)
    _model_file(folder, run).unlink(missing_ok=True)
    flush_folder(folder)


def last_answer(folder: Path, run: bytes) -> float | None:
    """Time of a run's last answer, in seconds since 1970; None if the label has no state of it."""
    try:
        return (folder / f"{run.hex()}.json").stat().st_mtime
    except FileNotFoundError:
        return None


def _model_file(folder: Path, run: bytes) -> Path:
    return folder / f"{run.hex()}.model"


def _plan(values: dict[str, Any] | None) -> PrivacyPlan | None:
    """Rebuild a plan from `asdict`."""
    if values is None:
        return None
    mechanism = values["mechanism"]
    if mechanism is not None:
        mechanism = DistributedDiscreteGaussian(**{**mechanism, "coefficients": tuple(mechanism["coefficients"])})
    evaluations = values.get("evaluations")
    return PrivacyPlan(
        **{
            **values,
            "unit": Unit(values["unit"]),
            "trust": Trust(values["trust"]),
            "mechanism": mechanism,
            "evaluations": None if evaluations is None else HeldOutCounts(**evaluations),
        }
    )
