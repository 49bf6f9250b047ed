"""`sottovoce label join`: pins the agreement, then keeps a SuperNode alive until the label's people stop it."""

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
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.commands.label.common import opened, unlock
from sottovoce_client.flower import supernode
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.pinning import pin
from sottovoce_client.home.policy import Policy

PAUSES = (1.0, 10.0)
"""Shortest and longest seconds before a SuperNode that ended is started again; doubled each time. One that was killed
is let in again when the SuperLink has missed its heartbeats, about a minute later."""
GLANCE = 0.1
"""Seconds between two looks at the SuperNode."""
LASTED = 60.0
"""Seconds after which a SuperNode counts as one that had worked."""
PATIENCE = 15.0
"""Seconds that a SuperNode has to leave cleanly."""


def join_federation(file: Path | None, home: Path | None, *, passphrase_file: Path | None) -> None:
    """Join, and stay until SIGINT or SIGTERM.

    Raises:
        SottovoceError: home, policy, ledger, keys or agreement are not in order, or another process has joined.
    """
    label = opened(home)
    unlock(label, passphrase_file)
    policy = Policy.from_toml(label.policy_file)
    with Ledger(label.ledger_file) as ledger:
        ledger.verify()  # before anything else: without it, nothing could be trained
    if file is None and not label.invitation_file.exists():
        raise ConfigurationError("This label has joined no federation yet.", hint="Name the coordinator's file.")
    try:
        with FileLock(label.root / ".join.lock", mode=0o600, timeout=0):
            invitation = pin(label, file or label.invitation_file, policy)
            _stay(label, invitation)
    except Timeout:
        raise ConfigurationError("This label has joined already, in another process.") from None


def _stay(label: LabelHome, invitation: Invitation) -> None:
    agreement, console = invitation.agreement, notes()
    say(console, "Joined", f"'{agreement.federation}' of {counted(len(agreement.members), 'label')}", "bold green")
    say(console, "Coordinator", f"{invitation.superlink}, key {agreement.coordinator_key.hex()}", "bold")
    if not label.catalogues:
        say(console, "Warning", "no catalogue is registered, so that every run will be declined.", "bold yellow")
    say(console, "Leave", "with Ctrl-C.", "bold")
    environment = supernode.environment(label, invitation.superlink, label.certificate_file)
    with _stopped() as stop:
        keep_alive(environment, stop)
    say(console, "Left", f"'{agreement.federation}'.", "bold green")


def keep_alive(environment: dict[str, str], stop: Event) -> None:
    """Start the SuperNode, and start it again whenever it ends, until it is time to leave."""
    pause, longest = PAUSES
    while True:
        started = time.monotonic()
        # A session of its own, so that Ctrl-C reaches only us, and we let it leave in order.
        node = subprocess.Popen(supernode.command(), env=environment, start_new_session=True)  # noqa: S603
        try:
            while node.poll() is None and not stop.wait(GLANCE):
                pass
        finally:
            _end(node)
        if stop.is_set():
            return
        pause = PAUSES[0] if time.monotonic() - started > LASTED else min(2 * pause, longest)
        say(notes(), "Note", f"the SuperNode has ended; it is started again in {pause:g} s.", "bold yellow")
        if stop.wait(pause):
            return


def _end(node: "subprocess.Popen[bytes]") -> None:
    """Let a SuperNode say good-bye to the coordinator; then make sure that nothing of it is left."""
    if node.poll() is None:
        node.terminate()
        with suppress(subprocess.TimeoutExpired):
            node.wait(PATIENCE)
    with suppress(ProcessLookupError):
        os.killpg(node.pid, signal.SIGKILL)
    node.wait()


@contextmanager
def _stopped() -> Iterator[Event]:
    """SIGINT and SIGTERM ask to leave, for as long as the block lasts."""

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
