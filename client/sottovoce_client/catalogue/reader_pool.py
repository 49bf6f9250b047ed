"""Reads many files in parallel, in a few processes of our own.

Decoders are C code that untrusted files drive: they write to stderr, and a file may crash them. A separate process
contains both and can be replaced. `multiprocessing` would import the caller's main module again, which fails in Ray's
workers, in notebooks and in scripts without a `__main__` guard.
"""

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Generator, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Self, cast

from sottovoce.audio.reject_reason import RejectReason
from sottovoce_client.catalogue.file_facts import Facts

COMMAND = (sys.executable, "-P", "-m", "sottovoce_client.catalogue.reader_process")


def read_all(files: Iterable[tuple[int, Path]], workers: int) -> Generator[tuple[int, Facts], None, None]:
    """Yield the facts of numbered files as they become ready, in any order, `workers` at a time.

    A file that crashes its reader counts as corrupt in this scan only, since something else may have killed the
    process. If the caller stops early, the readers end at once.
    """
    waiting = iter(files)
    with selectors.DefaultSelector() as selector, ExitStack() as running:

        def give(reader: "_Reader | None") -> bool:
            """Give the next file to a reader, or to a new one; False if no file is left."""
            entry = next(waiting, None)
            if entry is None:
                return False
            if reader is None:
                reader = running.enter_context(_Reader())
                selector.register(reader.answers, selectors.EVENT_READ, reader)
            reader.ask(*entry)
            return True

        busy = sum(give(None) for _ in range(workers))
        while busy:
            for ready, _ in selector.select():
                reader: _Reader = ready.data
                number, facts = reader.answer()
                if facts is None:
                    selector.unregister(reader.answers)
                if not give(None if facts is None else reader):
                    busy -= 1
                yield number, facts or Facts("", reason=RejectReason.CORRUPT, detail="The decoder crashed on it.")


class _Reader:
    """The parent's handle on one reading process, which reads one file at a time."""

    def __init__(self) -> None:
        self._number = -1
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # the scan handles Ctrl-C
        )
        # Both are pipes, as requested above.
        self._questions = cast("IO[bytes]", self._process.stdin)
        self.answers = cast("IO[bytes]", self._process.stdout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the process now."""
        self._process.kill()
        with suppress(BrokenPipeError):
            self._questions.close()
        self.answers.close()
        self._process.wait()

    def ask(self, number: int, path: Path) -> None:
        """Send a file. If the process has ended, `answer` reports it."""
        self._number = number
        with suppress(BrokenPipeError):
            self._questions.write(json.dumps(os.fspath(path)).encode() + b"\n")
            self._questions.flush()

    def answer(self) -> tuple[int, Facts | None]:
        """The number of the file that was sent, and its facts, or None if the process has ended."""
        line = self.answers.readline()
        return self._number, Facts.of(json.loads(line)) if line.endswith(b"\n") else None
