"""What labels answered, kept: the real code runs once for each state of a label and each message, not once a schedule.

A process that answers a message is a function of its label's disk, the message, the time in whole minutes, its
randomness, and the fault that strikes it. Its randomness depends on the same, and on how many times this label has
received the message in this schedule: a second answer to the same message has other random bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from flwr.app import Error, Message, RecordDict
from tests.simulation.disk import Folder
from tests.simulation.processes import Fault, Process

MINUTE = 60.0
"""Step of the clocks that labels see, seconds: the time of a message does not make it another one."""
Strike = tuple[Fault, int] | None


@dataclass(frozen=True)
class Answer:
    """What came of a message.

    Args:
        state: the label's folder afterwards; nothing may change it.
        reply: content of the reply, or the error in it; None if the process ended before.
        ended: how it ended, if it did.
        vectors: the reports that it made, as the witness records them.
        bugs: exceptions that nobody foresaw.
        effects: number of effects.
        last_write: number of the last effect that is a write; 0: none.
        commits: number of commits to the ledger.
    """

    state: Folder
    reply: RecordDict | Error | None
    ended: Fault | None
    vectors: Sequence[Any]
    bugs: Sequence[str]
    effects: int
    last_write: int
    commits: int

    @classmethod
    def of(
        cls, process: Process, state: Folder, reply: Message | None, vectors: Sequence[Any], bugs: Sequence[str]
    ) -> "Answer":
        """What a process has done."""
        content = None if reply is None else reply.error if reply.has_error() else reply.content
        counts = process.effects, process.last_write, process.commits
        return cls(state, content, process.ended, tuple(vectors), tuple(bugs), *counts)

    def reply_to(self, message: Message) -> Message | None:
        """The reply, as a message."""
        return None if self.reply is None else Message(self.reply, reply_to=message)

    def is_struck(self, strike: Strike) -> bool:
        """Whether this fault would have struck the process."""
        if strike is None:
            return False
        fault, at = strike
        last = {Fault.STUCK: self.commits and at, Fault.TORN: self.last_write}.get(fault, self.effects)
        return at <= last


@dataclass
class Answers:
    """All answers known so far."""

    known: int = 0
    """Number of messages whose answer was known."""
    made: int = 0
    """Number of messages that the real code has answered."""
    delivered: list[tuple[str, Message]] | None = None
    """Every message that a label is handed, with the label's name; None: they are not recorded."""
    _clean: dict[bytes, Answer] = field(default_factory=dict)
    _struck: dict[tuple[bytes, Strike], Answer] = field(default_factory=dict)

    def find(self, key: bytes, strike: Strike) -> Answer | None:
        """The answer to a message, if it is known."""
        clean = self._clean.get(key)
        found = clean if clean and not clean.is_struck(strike) else self._struck.get((key, strike))
        self.known += found is not None
        return found

    def keep(self, key: bytes, strike: Strike, answer: Answer, *, struck: bool) -> None:
        """Remember an answer.

        Args:
            key: from `key_of`.
            strike: the fault that was to strike.
            answer: what came of it.
            struck: whether it did strike.
        """
        self.made += 1
        if struck:
            self._struck[key, strike] = answer
        else:
            self._clean[key] = answer

    def clear(self) -> None:
        """Forget everything: the code has changed."""
        self._clean.clear()
        self._struck.clear()


def content_of(message: Message) -> bytes:
    """Digest of all that a label sees of a message (16 bytes)."""
    hasher = blake2b(message.metadata.message_type.encode(), digest_size=16)
    for name, record in message.content.items():
        hasher.update(name.encode())
        for key, value in record.items():
            hasher.update(key.encode())
            data = getattr(value, "data", value)
            hasher.update(data if isinstance(data, bytes) else repr(data).encode())
    return hasher.digest()


def key_of(label: str, state: bytes, content: bytes, *more: float) -> bytes:
    """Key of an answer (16 bytes): all that it depends on but the fault."""
    return blake2b(b"/".join((label.encode(), state, content, repr(more).encode())), digest_size=16).digest()
