"""Resumes runs that were under way when the server stopped, with growing pauses while they make no progress."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sottovoce.canonical import canonical_json
from sottovoce.errors import ConfigurationError, SottovoceError
from sottovoce.files import write_bytes
from sottovoce.versioned import Format, Versioned
from sottovoce_server.flower.control import Control
from sottovoce_server.home.coordinator_home import ServerHome
from sottovoce_server.home.runs import AT_WORK, OVER, SUBMITTED, RunFolder
from sottovoce_server.rounds.submission import resumed, say_over, submit

VERSION = 1
"""Version of a run's `resumptions.json`."""
MOST_ATTEMPTS = 5
"""Number of attempts without a new round after which a run is left to people."""
PAUSES = (10.0, 600.0)
"""Shortest and longest pause before an attempt that follows one without progress, seconds."""


@dataclass(frozen=True)
class Attempts:
    """Resumptions since a run's last progress.

    Args:
        count: number of attempts.
        after: newest round at the time.
    """

    count: int = 0
    after: int = 0

    @property
    def pause(self) -> float:
        """Seconds to wait before the next attempt."""
        shortest, longest = PAUSES
        return min(longest, shortest * 2 ** (self.count - 1)) if self.count else 0.0


def under_way(home: ServerHome) -> Iterator[RunFolder]:
    """Runs that did not end by themselves, oldest first: their process vanished, or could not reach the SuperLink."""
    for folder in reversed(RunFolder.all(home)):
        progress = folder.progress()
        unreached = progress["state"] == "failed" and progress.get("transient") is True
        resumption_lost = progress["state"] == SUBMITTED and folder.keeper.has_snapshot  # submitting it broke off
        if progress["state"] in AT_WORK or unreached or resumption_lost:
            yield folder


def resume_all(
    home: ServerHome, control: Control, *, pause: Callable[[float], None], say: Callable[[str, str], None]
) -> None:
    """Resume all runs that were under way.

    Args:
        home: the coordinator's home.
        control: connection to its SuperLink.
        pause: waits this many seconds.
        say: called with the first digits of a run's id, and what happens to the run.
    """
    waited = 0.0
    for attempts, folder in sorted(
        ((_attempts(folder), folder) for folder in under_way(home)), key=lambda each: each[0].pause
    ):
        short = folder.run[:8]
        if attempts.count >= MOST_ATTEMPTS:
            say(short, f"not resumed: {MOST_ATTEMPTS} attempts in a row made no progress")
            continue
        if attempts.pause > waited:
            say(short, f"resuming in {attempts.pause - waited:.0f} s: the last attempt made no progress")
            pause(attempts.pause - waited)
            waited = attempts.pause
        try:
            order = folder.order()
            resumed(home, control, folder.run, patience=order.patience, timeout=order.timeout)
            _write(folder, Attempts(attempts.count + 1, attempts.after))
            submit(folder, control)
            say(short, f"resumed after round {attempts.after}")
        except SottovoceError as error:  # one run that cannot be resumed does not stop the others
            say(short, f"not resumed: {error.message}")
        except OSError as error:
            say(short, f"not resumed: the coordinator's disk cannot be used ({error.strerror})")


def tell_all(home: ServerHome, control: Control, *, say: Callable[[str, str], None]) -> None:
    """Have the coordinator's app tell labels that were away when a run ended that it is over.

    Args:
        home: the coordinator's home.
        control: connection to its SuperLink.
        say: called with the first digits of a run's id, and what happens to the run.
    """
    for folder in untold(home):
        with suppress(SottovoceError):
            say_over(folder, control)
            say(folder.run[:8], "telling labels that it is over")


def untold(home: ServerHome) -> Iterator[RunFolder]:
    """Runs that are over, and of which some label does not know it yet; oldest first."""
    for folder in reversed(RunFolder.all(home)):
        with suppress(ConfigurationError):
            ending = folder.keeper.ending.read()
            if ending and ending.untold and folder.progress()["state"] in OVER:
                yield folder


def _attempts(folder: RunFolder) -> Attempts:
    """Attempts without progress so far; a damaged count begins anew."""
    newest = folder.keeper.newest_round
    try:
        kept = _FORMAT.find(_file(folder))
    except ConfigurationError:
        kept = None
    return kept if kept and kept.after == newest else Attempts(0, newest)


class _Kept(Versioned):
    attempts: int
    after: int


_FORMAT = Format(_Kept, lambda kept: Attempts(kept.attempts, kept.after), VERSION, "The count of resumptions")


def _write(folder: RunFolder, attempts: Attempts) -> None:
    values = {"version": VERSION, "attempts": attempts.count, "after": attempts.after}
    write_bytes(_file(folder), canonical_json(values), mode=0o600)


def _file(folder: RunFolder) -> Path:
    return folder.folder / "resumptions.json"
