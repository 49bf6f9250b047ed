"""Hours of the day, in local time, in which a label allows training on its machine."""

import re
from dataclasses import dataclass
from datetime import time

from sottovoce.errors import ConfigurationError

_WINDOW = re.compile(r"(\d{2}):(\d{2})-(\d{2}):(\d{2})")


@dataclass(frozen=True)
class Hours:
    """Time windows of a day, each including its first minute and excluding its last; without windows, any time.

    A window whose end is not after its start ends on the next day.
    """

    windows: tuple[tuple[time, time], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Hours":
        """Parse `22:00-06:00`, several separated by commas, or an empty text.

        Raises:
            ConfigurationError: the text has another form.
        """
        return cls(tuple(_window(part.strip()) for part in text.split(",") if part.strip()))

    def allows(self, now: time) -> bool:
        """Whether a time of day is within a window."""
        return not self.windows or any(
            start <= now < end if start < end else now >= start or now < end for start, end in self.windows
        )

    def __str__(self) -> str:
        return ", ".join(f"{start:%H:%M}-{end:%H:%M}" for start, end in self.windows)


def _window(text: str) -> tuple[time, time]:
    match = _WINDOW.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        hour, minute, last_hour, last_minute = map(int, match.groups())
        return time(hour, minute), time(last_hour, last_minute)
    except ValueError:
        raise ConfigurationError(f"'{text}' is not a time window.", hint="Write it as 22:00-06:00.") from None


ANY_TIME = Hours()
