"""A label's policy: its own rules, which no coordinator can change."""

import difflib
import math
import tomllib
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sottovoce.errors import ConfigurationError
from sottovoce.federation.agreement import LEAST_PARTICIPANTS, MOST_LABELS, Agreement
from sottovoce.federation.refusals import RefusalReason
from sottovoce.protocol.message import SPOKEN
from sottovoce.protocol.topology import threshold
from sottovoce.run.configuration import RunConfiguration, Trust, Unit
from sottovoce_client.catalogue.consent import DEFAULT_CONSENT, Consent
from sottovoce_client.home.hours import ANY_TIME, Hours

if TYPE_CHECKING:
    from sottovoce_client.budget.ledger import Ceilings

_REACH = {Unit.TRACK: 0, Unit.ARTIST: 1, Unit.LABEL: 2}
"""Coverage of a unit: an artist's guarantee covers each of the artist's tracks, a label's all of its artists."""


@dataclass(frozen=True)
class Policy:
    """A label's rules. The defaults are safe; `policy.toml` overrides them by the same names.

    Args:
        tasks: tasks that models may be trained for.
        families: families of models.
        purposes: purposes that the catalogue's tracks may be used for, if their own consent allows them too.
        epsilon_per_run: largest ε of one run. A run with a larger ε is trained with this.
        epsilon_lifetime: largest ε of all runs together, at `delta_max`.
        delta_max: largest δ.
        least_unit: smallest acceptable unit of privacy.
        allow_non_private: whether runs without privacy are allowed.
        least_participants: smallest number of labels in a sum; below it this label neither reports nor helps to unmask.
        most_assumed_honest: with distributed noise, the largest acceptable number of labels assumed honest.
        least_confirmed: number of other labels, in the agreement and in each round, that must be confirmed as real; 0
            means enough that fewer than a third of a round can be invented.
        oldest_protocol: oldest version of the protocol that a run may use; 0 means the oldest that this release speaks,
            but none older than the coordinator has used with this label if all members speak that one.
        most_rounds: largest number of rounds of a run.
        largest_model: largest number of parameters.
        declared_tracks: approximate number of tracks that the label trains on, in two significant digits; 0 declares
            nothing, so that private runs that protect tracks are declined. Sampling rates and noise follow from it,
            never from the exact number, so that neighbouring catalogues have the same.
        declared_artists: approximate number of artists, likewise, for runs that protect artists.
        trust: acceptable kinds of noise.
        least_noise_multiplier: smallest noise of a round's sum, relative to what one unit can change. With local noise
            the label adds at least this; a run with distributed noise must provide it.
        hours: hours of the day, in local time, in which training may run.
        folders: folders that may contain catalogues; empty: any.
        default_consent: consent of tracks without one in the catalogue; written as in a `catalogue.csv`.
        cosign: whether to sign releases that agree with the label's own records.
        audit_samples: number of samples of each style that a copy audit generates.
        audit_false_alarms: probability that an audit fails although nothing was copied.
    """

    tasks: frozenset[str] = frozenset({"style"})
    families: frozenset[str] = frozenset({"svm", "cnn", "rnn"})
    purposes: frozenset[str] = frozenset({"style"})
    epsilon_per_run: float = 8.0
    epsilon_lifetime: float = 16.0
    delta_max: float = 1e-5
    least_unit: Unit = Unit.TRACK
    allow_non_private: bool = False
    least_participants: int = LEAST_PARTICIPANTS
    most_assumed_honest: int = MOST_LABELS
    least_confirmed: int = 0
    oldest_protocol: int = 0
    most_rounds: int = 1_000
    largest_model: int = 50_000_000
    declared_tracks: int = 0
    declared_artists: int = 0
    trust: frozenset[Trust] = frozenset({Trust.LOCAL})
    least_noise_multiplier: float = 0.0
    hours: Hours = ANY_TIME
    folders: frozenset[str] = frozenset()
    default_consent: Consent = DEFAULT_CONSENT
    cosign: bool = True
    audit_samples: int = 4
    audit_false_alarms: float = 0.01

    def __post_init__(self) -> None:
        for name in ("epsilon_per_run", "epsilon_lifetime"):
            self._expect(name, 0 < getattr(self, name) < math.inf, "> 0 and finite")
        self._expect("delta_max", 0 < self.delta_max < 1, "in (0, 1)")
        self._expect("least_participants", self.least_participants >= LEAST_PARTICIPANTS, f">= {LEAST_PARTICIPANTS}")
        self._expect("least_confirmed", self.least_confirmed == 0 or self.least_confirmed >= 2, "0, or >= 2")
        versions = (0, *SPOKEN)
        self._expect("oldest_protocol", self.oldest_protocol in versions, f"one of {', '.join(map(str, versions))}")
        for name in ("most_assumed_honest", "most_rounds", "largest_model"):
            self._expect(name, getattr(self, name) >= 1, ">= 1")
        for name in ("declared_tracks", "declared_artists"):
            value = getattr(self, name)
            self._expect(name, value >= 0 and value == two_digits(value), ">= 0 and of two significant digits")
        noise = self.least_noise_multiplier
        self._expect("least_noise_multiplier", math.isfinite(noise) and noise >= 0, ">= 0 and finite")
        self._expect("audit_samples", 2 <= self.audit_samples <= 1_000, "from 2 to 1000")
        self._expect("audit_false_alarms", 1e-6 <= self.audit_false_alarms <= 0.2, "from 1e-6 to 0.2")
        if not all(Path(folder).is_absolute() for folder in self.folders):
            raise ConfigurationError("The policy's folders must be absolute paths, such as /srv/music.")

    def _expect(self, name: str, holds: bool, wanted: str) -> None:
        if not holds:
            raise ConfigurationError(f"Expected {name}={getattr(self, name)} {wanted} in the policy.")

    @classmethod
    def from_toml(cls, path: Path) -> "Policy":
        """Read `policy.toml`; missing settings, or a missing file, mean the defaults.

        Raises:
            ConfigurationError: it is not TOML, has an unknown setting, or a value has the wrong type or range.
        """
        try:
            values = tomllib.loads(path.read_bytes().decode())
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, RecursionError) as error:  # unreadable, not UTF-8, or not TOML
            raise ConfigurationError(f"The policy cannot be read: {error}.") from None
        kinds = {field.name: field.type for field in fields(cls)}
        for name in values:
            if name not in kinds:
                near = difflib.get_close_matches(name, kinds, cutoff=0.0)[0]
                raise ConfigurationError(f"The policy has an unknown setting '{name}'.", hint=f"Did you mean '{near}'?")
        return cls(**{name: _typed(name, kinds[name], value) for name, value in values.items()})

    def declared(self, unit: Unit) -> int:
        """Approximate number of units that the label trains on; 0 if not declared."""
        return {Unit.TRACK: self.declared_tracks, Unit.ARTIST: self.declared_artists, Unit.LABEL: 1}[unit]

    @property
    def ceilings(self) -> "Ceilings":
        """The ceilings that the ledger enforces."""
        from sottovoce_client.budget.ledger import Ceilings

        return Ceilings(self.epsilon_per_run, self.epsilon_lifetime, self.delta_max, self.allow_non_private)

    def confirmed_of(self, participants: int) -> int:
        """Number of confirmed other labels that a round needs."""
        return self.least_confirmed or threshold(participants) - 1

    def awake(self, now: datetime | None = None) -> bool:
        """Whether training may run at a time; default: now."""
        return self.hours.allows((now or datetime.now(UTC)).astimezone().time())

    def holds(self, folder: Path) -> bool:
        """Whether a catalogue in this folder may be used."""
        return not self.folders or any(folder.is_relative_to(allowed) for allowed in self.folders)

    def check(self, config: RunConfiguration, agreement: Agreement, *, parameters: int) -> RefusalReason | None:
        """The reason to decline a run, or None to accept it.

        A run's ε and δ are ceilings that a label may stay below, so larger ones than the policy's are no reason to
        decline: plan with `epsilon=epsilon_per_run, delta=delta_max`.

        Args:
            config: the announced configuration.
            agreement: the agreement, as this label holds it.
            parameters: number of parameters of the run's model.
        """
        rules = (
            (RefusalReason.TASK, config.task in self.tasks),
            (RefusalReason.PURPOSE, config.task in self.purposes),  # a task and its purpose have the same name
            (RefusalReason.FAMILY, config.family in self.families),
            (RefusalReason.PRIVACY, config.private or self.allow_non_private),
            (RefusalReason.PRIVACY, not config.private or _REACH[config.unit] >= _REACH[self.least_unit]),
            (RefusalReason.TRUST, not config.private or config.trust in self.trust),
            (
                RefusalReason.TRUST,
                not config.distributed or config.distributed.min_honest <= self.most_assumed_honest,
            ),
            (RefusalReason.PARTICIPANTS, len(agreement.members) >= self.least_participants),
            (RefusalReason.ROUNDS, config.rounds <= self.most_rounds),
            (RefusalReason.MODEL_SIZE, parameters <= self.largest_model),
            # Local noise is raised to the minimum. A refusal must not reveal how much was planned.
            (
                RefusalReason.PRIVACY,
                not config.distributed or config.distributed.noise_multiplier >= self.least_noise_multiplier,
            ),
            (RefusalReason.HOURS, self.awake()),
        )
        return next((reason for reason, allowed in rules if not allowed), None)


def two_digits(number: int) -> int:
    """Round a number to two significant digits: 487 becomes 490."""
    return int(float(f"{number:.2g}"))


def _typed(name: str, kind: Any, value: Any) -> Any:
    """A TOML value as the field's type, without coercion beyond whole number to float."""
    try:
        if kind is float and type(value) in (int, float) and not math.isnan(value):
            return float(value)
        if kind in (int, bool) and type(value) is kind:
            return value
        if kind is Unit:
            return Unit(value)
        if kind in (Consent, Hours) and isinstance(value, str):
            return kind.parse(value)
        if kind == frozenset[Trust] and isinstance(value, list):
            return frozenset(Trust(item) for item in value)
        if kind == frozenset[str] and isinstance(value, list) and all(isinstance(item, str) for item in value):
            return frozenset(value)
    except ValueError:
        raise ConfigurationError(f"The policy's '{name}' cannot be {value!r}.") from None
    raise ConfigurationError(f"The policy's '{name}' has a value of the wrong type: {value!r}.")
