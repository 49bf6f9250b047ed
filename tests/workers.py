"""pytest-xdist's workers as forks of one process that has imported all tests, which costs each 8 s of processor time.

execnet starts this file for each worker in place of an interpreter. It passes its pipes to the process that has
imported, whose fork speaks execnet's protocol through them, and ends when the fork does.
"""

import os
import select
import shlex
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

PIPES = (0, 1, 2)
PID_BYTES = 8
AVAILABLE = hasattr(os, "pidfd_open")
"""Whether this is Linux: elsewhere, what libraries start when they are imported may not survive a fork."""


@contextmanager
def template(*arguments: str) -> Iterator[str]:
    """A process that collects with pytest's arguments, then forks: what execnet starts in place of `python`."""
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        address = Path(folder) / "socket"
        listener.bind(str(address))
        listener.listen()
        command = [sys.executable, "-P", __file__, "template", str(listener.fileno()), *arguments]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=[listener.fileno()]
        ):  # on leaving, its standard input is closed, and it ends
            yield shlex.join([sys.executable, "-I", "-S", __file__, "worker", str(address)])


def fork_workers(listener: socket.socket, arguments: list[str]) -> None:
    """Collect, and fork for each connection, until the standard input ends; a fork returns when its work is over."""
    import pytest

    # No capture: what keeps `sys.stderr` when it is imported, as Flower's log does, would keep a file that is closed.
    pytest.main([*arguments, "-n0", "--dist=no", "--collect-only", "--quiet", "--capture=no"])
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        with connection:
            _, pipes, _, _ = socket.recv_fds(connection, 1, len(PIPES))
            with warnings.catch_warnings(action="ignore"):  # jax's of forking: nothing has used it yet
                process = os.fork()
            if not process:
                break
            connection.sendall(process.to_bytes(PID_BYTES))
        for pipe in pipes:
            os.close(pipe)
    else:
        with suppress(ChildProcessError):
            while os.wait():  # for what has been forked: its processor time counts as the template's
                pass
        return
    listener.close()
    work(pipes)


def work(pipes: list[int]) -> None:
    """Be a worker: do what the line that execnet gives a new interpreter does."""
    for own, pipe in zip(PIPES, pipes, strict=True):
        os.dup2(pipe, own)
        os.close(pipe)
    sys.argv = ["-c"]
    sys.modules["__main__"] = main = ModuleType("__main__")
    exec(eval(sys.stdin.readline()), main.__dict__)


def pass_on(address: str) -> None:
    """Have a fork made, with this process' pipes, and wait for its end."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        socket.send_fds(connection, [b"*"], PIPES)
        fork = os.pidfd_open(int.from_bytes(connection.recv(PID_BYTES)))
    for pipe in PIPES:
        os.close(pipe)
    select.select([fork], [], [])


if __name__ == "__main__":
    role, place, *arguments = sys.argv[1:]
    if role == "template":
        fork_workers(socket.socket(fileno=int(place)), arguments)
    else:
        pass_on(place)
