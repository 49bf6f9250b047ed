"""`sottovoce label join` against a real SuperLink: it stays, reconnects, reveals no secret, and stops on request."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

pytestmark = [pytest.mark.deployment, pytest.mark.timeout(600)]  # a killed node is missed after a minute

SECRET = "correct horse battery staple"


@pytest.fixture
def passphrase():
    return SECRET


def answered(served, a_bundle) -> None:
    """The label's own app has looked at the frame that came, and has found it to be none."""
    assert served(a_bundle()) == {"nodes": 1, "replies": [{"error": "Malformed", "code": 400}]}


def processes_of(home) -> list[int]:
    found = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if process.name.isdigit() and f"SOTTOVOCE_HOME={home.root}".encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


def test_a_label_stays_until_it_is_asked_to_leave(joined, tmp_path, request, superlink, a_bundle, eventually):
    secret = tmp_path / "passphrase"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    joined.arguments = ("--passphrase-file", str(secret))
    served = request.getfixturevalue("served")
    answered(served, a_bundle)

    # Only one process answers for a home.
    line = [sys.executable, "-m", "sottovoce", "label", "join", "--home", str(joined.home.root), *joined.arguments]
    second = subprocess.run(line, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert second.returncode == 2
    assert "already joined" in second.stderr

    # The coordinator's side is gone for a while, and comes back.
    superlink.stop()
    eventually(lambda: joined.said("retrying"), 60, "the label notices")
    superlink.start()
    answered(served, a_bundle)

    # Its SuperNode ends; the label starts another one.
    connected = joined.log.read_text().count("SuperNode ID")
    (node,) = (int(found) for found in subprocess.check_output(["pgrep", "-P", str(joined.process.pid)]).split())
    os.kill(node, signal.SIGTERM)
    eventually(lambda: joined.said("SuperNode ID", times=connected + 1), 150, "another one is connected")
    answered(served, a_bundle)

    # All of it is killed at once, as when the power goes, and started again by hand.
    connected += 1
    for process in [joined.process.pid, *processes_of(joined.home)]:
        os.kill(process, signal.SIGKILL)
    joined.process.wait()
    joined.start()
    eventually(lambda: joined.said("SuperNode ID", times=connected + 1), 150, "the label is connected again")
    answered(served, a_bundle)

    # Ctrl-C.
    joined.process.send_signal(signal.SIGINT)
    assert joined.process.wait(30) == 0
    assert joined.said("Left: 'test'.")
    eventually(lambda: not processes_of(joined.home), 10, "nothing of it is left")
    log = joined.log.read_text()
    assert SECRET not in log
    assert "Traceback" not in log
    assert not re.search(r"PRIVATE KEY", log)
    unencrypted = [file.name for file in joined.home.root.rglob("*.key") if b"ENCRYPTED" not in file.read_bytes()]
    assert unencrypted == ["split.key"]
