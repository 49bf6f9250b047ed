"""Every error Sottovoce raises, as one tree.

    SottovoceError
    ├── UserError                     a person's input cannot be used; exit code 2
    │   ├── ConfigurationError        an option, a policy or a configuration
    │   │   └── OtherVersion          a file or message of a version that cannot be read
    │   ├── CatalogueError            a catalogue as a whole
    │   ├── AudioError                one audio file; `reason` is a `sottovoce.audio.reject_reason.RejectReason`
    │   ├── SplitView                 a coordinator's log contradicts the log seen before
    │   └── ReleaseError              a release: missing, damaged, unsigned, of another task
    ├── PrivacyError                  a privacy promise would break; exit code 3
    │   ├── UnknownPrivacyEvent       an accountant met an event that it cannot interpret
    │   ├── BudgetExceeded            more ε than the policy or the run allows
    │   └── LedgerError               the ledger cannot be read or written: training does not start
    │       └── AlreadyCharged        this round of this run was charged before
    ├── ProtocolError                 masked rounds; exit code 4
    │   ├── LocalProtocolError        our own side called the protocol wrongly
    │   └── RemoteProtocolError       the peer sent an invalid message (see `sottovoce.protocol`)
    ├── RegistryError                 a registry cannot be reached, or refuses; exit code 6
    ├── StudioError                   a studio cannot be reached, or refuses, or a job failed; exit code 7
    ├── Diverged                      training produced a number that is not finite: nothing leaves the label
    └── RoundAborted                  a round ended without a sum and revealed nothing

Messages never contain a secret, a track's name or a path within a label's catalogue (the command line, which runs at
the label, adds the path itself).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sottovoce.audio.reject_reason import RejectReason


class SottovoceError(Exception):
    """Base class of all errors that Sottovoce raises on purpose.

    Args:
        message: what is wrong, and where.
        hint: what to do about it; shown on its own line.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UserError(SottovoceError):
    """A person's input cannot be used."""

    exit_code = 2


class ConfigurationError(UserError):
    """An option, a policy or a configuration is wrong."""


class OtherVersion(ConfigurationError):
    """A file or message has a version that cannot be read; the hint says what to do."""


class CatalogueError(UserError):
    """A catalogue as a whole cannot be used."""


class AudioError(UserError):
    """One audio file cannot be used.

    Args:
        message: what is wrong.
        reason: category of the problem, for counting.
        hint: what to do about it.
    """

    def __init__(self, message: str, *, reason: "RejectReason", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class ReleaseError(UserError):
    """A release is missing, damaged, unsigned or of another task."""


class SplitView(UserError):
    """A coordinator's log does not extend the log seen before: it has shown two histories."""


def no_sound() -> ReleaseError:
    """The error for a release whose finite parameters produce non-finite output: diverged, or made to."""
    return ReleaseError(
        "The release generates values that are not finite.",
        hint="Its training diverged, or it is malicious: use another release.",
    )


class PrivacyError(SottovoceError):
    """A privacy promise would break, so nothing was done."""

    exit_code = 3


class UnknownPrivacyEvent(PrivacyError):
    """An accountant met an event that it cannot interpret."""


class BudgetExceeded(PrivacyError):
    """More ε than the policy or the run allows."""


class LedgerError(PrivacyError):
    """The ledger cannot be read or written, so training does not start."""


class AlreadyCharged(LedgerError):
    """This round of this run was charged before and must not be trained again."""


class ProtocolError(SottovoceError):
    """A message or call in a masked round violates the protocol."""

    exit_code = 4


class LocalProtocolError(ProtocolError):
    """Our own side called the protocol wrongly."""


class RemoteProtocolError(ProtocolError):
    """The peer sent a message that the protocol forbids."""


class RegistryError(SottovoceError):
    """A registry cannot be reached, refuses a request, or sends an invalid answer."""

    exit_code = 6


class StudioError(SottovoceError):
    """A studio cannot be reached or refuses a request, or a job failed."""

    exit_code = 7


class Diverged(SottovoceError):
    """Training produced a number that is not finite, so nothing was sent."""


class RoundAborted(SottovoceError):
    """A round ended without a sum and revealed nothing.

    Args:
        message: what is wrong, and where.
        hint: what to do about it.
        liars: labels whose own signed messages prove that they cheated.
        disputes: pairs of labels of which one lied; it cannot be decided which.
    """

    exit_code = 5

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        liars: tuple[str, ...] = (),
        disputes: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message, hint=hint)
        self.liars = liars
        self.disputes = disputes
