"""Privacy events: how private data was used, as values that an accountant interprets and a ledger keeps.

Each states the guarantee of one mechanism under add-or-remove-one-unit. A new mechanism needs a class here, a line in
`_KINDS` and one in the accountant; an unlisted event raises an error instead of being guessed.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, fields, replace
from typing import Any

from sottovoce.errors import UnknownPrivacyEvent


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise UnknownPrivacyEvent(f"Expected {what} in a privacy event.")


def _check(event: "PoissonGaussian | Gaussian | DiscreteGaussianSum", times: str) -> None:
    """Convert whole numbers to float, so that 1 and 1.0 are one event with one JSON form, and check common fields."""
    for field in fields(event):
        if field.type is float:
            object.__setattr__(event, field.name, float(getattr(event, field.name)))
    noise, count = event.noise_multiplier, getattr(event, times)
    _expect(math.isfinite(noise) and noise > 0, f"noise_multiplier={noise} > 0 and finite")
    _expect(type(count) is int and count >= 1, f"{times}={count} to be a whole number >= 1")


@dataclass(frozen=True, order=True)
class PoissonGaussian:
    """`steps` steps of DP-SGD: units sampled independently, sums clipped to C per unit, noise of std z·C added.

    Args:
        sample_rate: the largest probability q with which any unit is sampled, in (0, 1].
        noise_multiplier: z, the noise's standard deviation divided by the clip.
        steps: number of steps.
    """

    sample_rate: float
    noise_multiplier: float
    steps: int

    def __post_init__(self) -> None:
        _check(self, "steps")
        _expect(0 < self.sample_rate <= 1, f"sample_rate={self.sample_rate} in (0, 1]")


@dataclass(frozen=True, order=True)
class Gaussian:
    """A sum to which each unit adds a vector of L2 norm at most 1, with noise of std z; for example a class histogram.

    Args:
        noise_multiplier: z.
        count: number of such sums.
    """

    noise_multiplier: float
    count: int = 1

    def __post_init__(self) -> None:
        _check(self, "count")


@dataclass(frozen=True, order=True)
class DiscreteGaussianSum:
    """Sums of integer vectors, to which each of `min_honest` labels adds independent discrete Gaussian noise N_Z(0, v).

    Units are sampled independently, and one unit changes the sum by an integer vector of bounded L2 norm. Anything else
    added to the sum (other labels' noise, wrapping around a ring) is post-processing.

    Args:
        sample_rate: the largest probability q with which any unit is sampled, in (0, 1].
        variance: v, of each honest label's noise on each coordinate.
        norm_squared: largest squared L2 norm of what one unit adds.
        min_honest: number of labels whose noise is relied on.
        dimension: number of coordinates of a sum.
        steps: number of sums.
    """

    sample_rate: float
    variance: float
    norm_squared: int
    min_honest: int
    dimension: int
    steps: int

    def __post_init__(self) -> None:
        for name in ("norm_squared", "min_honest", "dimension"):
            value = getattr(self, name)
            _expect(type(value) is int and value >= 1, f"{name}={value} to be a whole number >= 1")
        _expect(math.isfinite(self.variance) and self.variance > 0, f"variance={self.variance} > 0 and finite")
        _check(self, "steps")
        _expect(0 < self.sample_rate <= 1, f"sample_rate={self.sample_rate} in (0, 1]")

    @property
    def noise_multiplier(self) -> float:
        """Standard deviation of the honest labels' noise together, divided by the largest norm."""
        return math.sqrt(self.min_honest * self.variance / self.norm_squared)


@dataclass(frozen=True, order=True)
class HeldOutCounts:
    """Sums of integer vectors over *held-out* units, each in every sum once, with noise as in `DiscreteGaussianSum`.

    Held-out units are never trained on and trained ones never counted, so this composes with events on trained units by
    the larger ε instead of the sum (`sottovoce.privacy.accountant.epsilon`).

    Args:
        variance: v, of each honest label's noise on each coordinate.
        norm_squared: largest squared L2 norm of what one unit adds.
        honest: number of labels whose noise is relied on.
        dimension: number of coordinates of a sum.
        count: number of sums.
    """

    variance: float
    norm_squared: int
    honest: int
    dimension: int
    count: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "variance", float(self.variance))
        _ = self.sums  # checks the fields

    @property
    def sums(self) -> DiscreteGaussianSum:
        """The equivalent sums over units that are always sampled."""
        return DiscreteGaussianSum(1.0, self.variance, self.norm_squared, self.honest, self.dimension, self.count)


@dataclass(frozen=True, order=True)
class NonPrivate:
    """The data was used without privacy: ε is infinite from here on."""


Event = PoissonGaussian | Gaussian | DiscreteGaussianSum | HeldOutCounts | NonPrivate

_KINDS: Mapping[str, type[Event]] = {
    "poisson-gaussian": PoissonGaussian,
    "gaussian": Gaussian,
    "discrete-gaussian-sum": DiscreteGaussianSum,
    "held-out-counts": HeldOutCounts,
    "non-private": NonPrivate,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def to_json(event: Event) -> dict[str, Any]:
    """A plain JSON object; `from_json` restores an equal value."""
    return {"kind": _NAMES[type(event)]} | {_json_name(field): getattr(event, field.name) for field in fields(event)}


def from_json(value: object) -> Event:
    """Read an event written by `to_json`.

    Raises:
        UnknownPrivacyEvent: its kind is unknown, fields are missing or surplus, or a value has the wrong type or range.
    """
    kind = _KINDS.get(str(value.get("kind"))) if isinstance(value, dict) else None
    if kind is None or not isinstance(value, dict):
        raise UnknownPrivacyEvent("The privacy event's kind is unknown.")
    given = {name: item for name, item in value.items() if name != "kind"}
    expected = {_json_name(field): field.type for field in fields(kind)}
    if {name: type(item) for name, item in given.items()} != expected:
        raise UnknownPrivacyEvent("The privacy event has missing or unknown fields for its kind.")
    return kind(**{field.name: given[_json_name(field)] for field in fields(kind)})


def _json_name(field: Field[Any]) -> str:
    """Name of a field in JSON. Ledgers keep `honest`, over which their rows are chained."""
    return "honest" if field.name == "min_honest" else field.name


def _times(event: Event) -> int:
    match event:
        case PoissonGaussian() | DiscreteGaussianSum():
            return event.steps
        case Gaussian() | HeldOutCounts():
            return event.count
        case NonPrivate():
            return 1


def _repeated(event: Event, times: int) -> Event:
    match event:
        case PoissonGaussian() | DiscreteGaussianSum():
            return replace(event, steps=times)
        case Gaussian() | HeldOutCounts():
            return replace(event, count=times)
        case NonPrivate():
            return event


def _counts(events: Iterable[Event]) -> dict[Event, int]:
    """How often each mechanism was used, keyed by its event with a count of one."""
    counts: dict[Event, int] = {}
    for event in events:
        once = _repeated(event, 1)
        counts[once] = counts.get(once, 0) + _times(event)
    return counts


def merged(events: Iterable[Event]) -> tuple[Event, ...]:
    """The same events with equal mechanisms added up, in canonical order."""
    together = (_repeated(once, times) for once, times in _counts(events).items())
    return tuple(sorted(together, key=lambda event: (_NAMES[type(event)], event)))


def within(spent: Iterable[Event], planned: Iterable[Event]) -> bool:
    """Whether everything spent is part of what was planned."""
    allowed = _counts(planned)
    return all(
        (isinstance(once, NonPrivate) and once in allowed) or times <= allowed.get(once, 0)
        for once, times in _counts(spent).items()
    )


def remaining(planned: Iterable[Event], spent: Iterable[Event]) -> tuple[Event, ...]:
    """What was planned and not spent yet, in canonical order."""
    used = _counts(spent)
    left = {once: times - used.get(once, 0) for once, times in _counts(planned).items()}
    return merged(_repeated(once, times) for once, times in left.items() if times > 0)
