"""What a track may be used for, and until when."""

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from sottovoce.errors import ConfigurationError

NOTHING = "none"
_GRANT = re.compile(r"(?P<purpose>[a-z]+)(?:\s+until\s+(?P<until>\S+))?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class Purpose(StrEnum):
    """What a model trained on a track may do."""

    STYLE = "style"
    GENERATOR = "generator"
    EDITOR = "editor"


@dataclass(frozen=True)
class Consent:
    """The purposes that a track may be used for, each without limit (None) or up to and including a last day.

    Args:
        grants: `(purpose, last day)` pairs, sorted by purpose, each purpose once. Empty: no purpose.
    """

    grants: tuple[tuple[Purpose, date | None], ...] = ()

    def __post_init__(self) -> None:
        purposes = [purpose for purpose, _ in self.grants]
        if purposes != sorted(set(purposes)):
            raise ConfigurationError("A consent must list its purposes in order, each once.")

    @classmethod
    def to(cls, *purposes: Purpose) -> "Consent":
        """Consent to some purposes, without a last day."""
        return cls(tuple((purpose, None) for purpose in sorted(set(purposes))))

    @classmethod
    def parse(cls, text: str) -> "Consent":
        """Read `style; generator until 2027-01-31`, or `none`; commas separate as well.

        Raises:
            ConfigurationError: a purpose is unknown or given twice, a date is invalid, or no purpose is given.
        """
        if text.strip().casefold() == NOTHING:
            return cls()
        until: dict[Purpose, date | None] = {}
        for part in re.split(r"[;,]", text.casefold()):
            if not part.strip():
                continue
            purpose, last_day = _grant(part.strip())
            if purpose in until:
                raise ConfigurationError(f"A consent names '{purpose}' twice.")
            until[purpose] = last_day
        if not until:
            raise ConfigurationError(f"A consent lists no purpose; write '{NOTHING}' to consent to nothing.")
        return cls(tuple(sorted(until.items(), key=lambda grant: grant[0])))

    def allows(self, purpose: Purpose, today: date) -> bool:
        """Whether the track may be used for a purpose on a day."""
        return any(granted is purpose and (until is None or today <= until) for granted, until in self.grants)

    def __str__(self) -> str:
        parts = [purpose if until is None else f"{purpose} until {until}" for purpose, until in self.grants]
        return "; ".join(parts) or NOTHING


def _grant(text: str) -> tuple[Purpose, date | None]:
    match = _GRANT.fullmatch(text)
    try:
        purpose = Purpose(match["purpose"] if match else text)
    except ValueError:
        raise ConfigurationError(
            f"A consent says '{text}'; expected {', '.join(Purpose)} or {NOTHING}, optionally with 'until YYYY-MM-DD'."
        ) from None
    if match is None or match["until"] is None:
        return purpose, None
    try:
        if not _DATE.fullmatch(match["until"]):
            raise ValueError
        return purpose, date.fromisoformat(match["until"])
    except ValueError:
        raise ConfigurationError(f"A consent ends on '{match['until']}', which is not a date (YYYY-MM-DD).") from None


# A recogniser cannot play a recording back. The other purposes need explicit consent.
DEFAULT_CONSENT = Consent.to(Purpose.STYLE)
