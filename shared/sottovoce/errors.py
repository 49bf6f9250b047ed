"""Every error Sottovoce raises, as one tree.

    SottovoceError
    ├── UserError                     what a person gave us cannot be used; exit code 2
    │   ├── ConfigurationError        an option, a policy or a configuration
    │   ├── CatalogueError            a catalogue as a whole
    │   ├── AudioError                one audio file; `reason` is a `sottovoce.audio.reject_reason.RejectReason`
    │   ├── SplitView                 a coordinator's log is not the one that was seen before
    │   └── ReleaseError              a release: missing, damaged, unsigned, of another task
    ├── PrivacyError                  a privacy promise would break; exit code 3
    │   ├── UnknownPrivacyEvent       an accountant met an event that it has no proof for
    │   ├── BudgetExceeded            more ε than the policy or the run allows
    │   └── LedgerError               the ledger cannot be read or written: nothing is trained
    │       └── AlreadyCharged        this round of this run was charged before
    ├── ProtocolError                 masked rounds; exit code 4
    │   ├── LocalProtocolError        we called our own side wrongly
    │   └── RemoteProtocolError       the peer sent what it must not (see `sottovoce.protocol`)
    ├── RegistryError                 a registry cannot be reached, or refuses; exit code 6
    ├── Diverged                      training met a number that is not finite: nothing leaves the label
    └── RoundAborted                  a round ended without a sum, and revealed nothing

Messages never carry a secret, a track's name or a path of a label's catalogue (the command line, which talks to the
label's own people, adds the path itself).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sottovoce.audio.reject_reason import RejectReason


class SottovoceError(Exception):
    """Something went wrong that we can name.

    Args:
        message: what is wrong, and where.
        hint: what to do about it; shown on a line of its own.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UserError(SottovoceError):
    """What a person gave us cannot be used."""

    exit_code = 2


class ConfigurationError(UserError):
    """An option, a policy or a configuration is wrong."""


class CatalogueError(UserError):
    """A catalogue as a whole cannot be used."""


class AudioError(UserError):
    """One audio file cannot be used.

    Args:
        message: what is wrong.
        reason: the same in one of few words, for counting.
        hint: what to do about it.
    """

    def __init__(self, message: str, *, reason: "RejectReason", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class ReleaseError(UserError):
    """A release is missing, damaged, unsigned or of another task."""


class SplitView(UserError):
    """A coordinator's log does not go on from what was seen of it: it has shown two histories."""


def no_sound() -> ReleaseError:
    """Of a release whose finite parameters give numbers that are not: it diverged, or was made so."""
    return ReleaseError(
        "The release makes numbers that are no sound.",
        hint="Its training diverged, or it was made to harm: use another one.",
    )


class PrivacyError(SottovoceError):
    """A privacy promise would break, so nothing was done."""

    exit_code = 3


class UnknownPrivacyEvent(PrivacyError):
    """An accountant met an event that it has no proof for."""


class BudgetExceeded(PrivacyError):
    """More ε than the policy or the run allows."""


class LedgerError(PrivacyError):
    """The ledger cannot be read or written, so nothing is trained."""


class AlreadyCharged(LedgerError):
    """This round of this run was charged before: it must not be trained a second time."""


class ProtocolError(SottovoceError):
    """A masked round met what the protocol does not allow."""

    exit_code = 4


class LocalProtocolError(ProtocolError):
    """Our own side was called wrongly."""


class RemoteProtocolError(ProtocolError):
    """The peer sent what it must not."""


class RegistryError(SottovoceError):
    """A registry cannot be reached, refuses, or answers what it must not."""

    exit_code = 6


class Diverged(SottovoceError):
    """Training met a number that is not finite, so nothing was sent."""


class RoundAborted(SottovoceError):
    """A round ended without a sum, and revealed nothing.

    Args:
        message: what is wrong, and where.
        hint: what to do about it.
        liars: labels whose own signed words prove that they lied.
        disputes: pairs of labels of which one lied, and which one cannot be told.
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
