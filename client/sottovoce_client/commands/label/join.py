"""`sottovoce label join`: pin the agreement, then keep a SuperNode running until it is stopped."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from types import FrameType

from filelock import FileLock, Timeout

from sottovoce.commands.output import counted, notes, say
from sottovoce.errors import ConfigurationError
from sottovoce.federation.invitation import Invitation
from sottovoce_client.budget.known_heads import open_ledger
from sottovoce_client.catalogue.sides import Sides
from sottovoce_client.commands.label.common import SIDES_WRITTEN, bar, opened, unlock
from sottovoce_client.flower import supernode
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.pinning import pin
from sottovoce_client.home.policy import Policy

PAUSES = (1.0, 10.0)
"""Shortest and longest pause, in seconds, before an ended SuperNode is restarted; doubled each time. The SuperLink
readmits a killed one after missing its heartbeats, about a minute later."""
GLANCE = 0.1
"""Interval between checks of the SuperNode, seconds."""
LASTED = 60.0
"""Running time, in seconds, after which the pause is reset."""
PATIENCE = 15.0
"""Time for a SuperNode to exit cleanly, seconds."""


def join_federation(file: Path | None, home: Path | None, *, passphrase_file: Path | None) -> None:
    """Join, and stay until SIGINT or SIGTERM.

    Raises:
        SottovoceError: home, policy, ledger, keys or agreement cannot be used, or another process has joined.
    """
    label = opened(home)
    unlock(label, passphrase_file)
    policy = Policy.from_toml(label.policy_file)
    with open_ledger(label) as ledger:
        ledger.verify()  # before anything else: without it, nothing could be trained
    _check_sides(label)
    if file is None and not label.invitation_file.exists():
        raise ConfigurationError(
            "This label has not joined a federation yet.", hint="Pass the coordinator's federation.toml."
        )
    try:
        with FileLock(label.root / ".join.lock", mode=0o600, timeout=0):
            invitation = pin(label, file or label.invitation_file, policy)
            _stay(label, invitation)
    except Timeout:
        raise ConfigurationError("This label has already joined, in another process.") from None


def _check_sides(label: LabelHome) -> None:
    """Check the table of held-out tracks, which runs need; create it in the home of an earlier version."""
    if label.keeps_sides:
        with Sides(label.sides_file):
            return
    from sottovoce_client.data.preparation import with_sides

    with bar("reading") as progress:
        with_sides(label, progress=progress)
    say(notes(), "Note", SIDES_WRITTEN, "bold")


def _stay(label: LabelHome, invitation: Invitation) -> None:
    agreement, console = invitation.agreement, notes()
    say(console, "Joined", f"'{agreement.federation}' of {counted(len(agreement.members), 'label')}", "bold green")
    say(console, "Coordinator", f"{invitation.superlink}, key {agreement.coordinator_key.hex()}", "bold")
    if not label.catalogues:
        say(console, "Warning", "no catalogue is registered, so every run will be declined.", "bold yellow")
    say(console, "Leave", "with Ctrl-C.", "bold")
    environment = supernode.environment(label, invitation.superlink, label.certificate_file)
    with _stopped() as stop:
        keep_alive(environment, stop)
    say(console, "Left", f"'{agreement.federation}'.", "bold green")


def keep_alive(environment: dict[str, str], stop: Event) -> None:
    """Run the SuperNode, and restart it whenever it ends, until `stop` is set."""
    pause, longest = PAUSES
    while True:
        started = time.monotonic()
        # In its own session, so that Ctrl-C reaches only this process, which then stops it in order.
        node = subprocess.Popen(supernode.command(), env=environment, start_new_session=True)  # noqa: S603
        try:
            while node.poll() is None and not stop.wait(GLANCE):
                pass
        finally:
            _end(node)
        if stop.is_set():
            return
        pause = PAUSES[0] if time.monotonic() - started > LASTED else min(2 * pause, longest)
        say(notes(), "Note", f"the SuperNode has exited; restarting it in {pause:g} s.", "bold yellow")
        if stop.wait(pause):
            return


def _end(node: "subprocess.Popen[bytes]") -> None:
    """Let a SuperNode unregister from the coordinator; then make sure that all its processes have ended."""
    if node.poll() is None:
        node.terminate()
        with suppress(subprocess.TimeoutExpired):
            node.wait(PATIENCE)
    with suppress(ProcessLookupError):
        os.killpg(node.pid, signal.SIGKILL)
    node.wait()


@contextmanager
def _stopped() -> Iterator[Event]:
    """Turn SIGINT and SIGTERM into an event within the block."""

    stop = Event()

    def ask(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
