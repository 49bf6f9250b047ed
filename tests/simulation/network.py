"""The network of the simulation: a SuperLink that loses, delays, reorders, duplicates and changes what passes through.

The coordinator's real `PollingGrid` talks to it. A message that is delivered is answered by the label's real Flower
app, in a process of its own that faults may strike.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import count
from typing import Any

import httpx
from flwr.app import Array, Context, Message, RecordDict
from tests.simulation.answers import MINUTE, Answer, Answers, content_of, key_of
from tests.simulation.choices import Choices
from tests.simulation.disk import Disk, Folder
from tests.simulation.processes import Fault, Killed, Process, Processes

from sottovoce.run.records import FRAME, RECORD

LATE = (2.0, 8.0, 30.0)
"""Delays of messages, seconds: within one exchange, in the next one, and rounds later."""
MOVES = (-86_400.0, -3_600.0, 3_600.0, 86_400.0, 0.0)
"""Where wall clocks are set, seconds from the right time."""
CHANGES = 100
"""Number of ways in which a message may be changed by a byte."""
EFFECTS = 30
"""Effects of a process among which a fault chooses the one that it strikes; most processes have fewer."""


@dataclass(frozen=True)
class Rates:
    """How often each kind of fault occurs.

    Args:
        lost: of a request, or of a reply.
        late: likewise.
        twice: likewise.
        changed: likewise, one byte.
        process: of a label's process that answers one message.
        outage: of a call of the SuperLink.
        coordinator: of a coordinator's process.
        away: of a label's machine, at each exchange; half of them because it has no power.
        clock: that clocks are set, at each exchange.
        signed: that another agreement is signed, once, at each call of the SuperLink.
        beside: that a label is handed another message while it answers one.
        signed_before: that another agreement is signed before anything else happens.
        another: that another run begins while one is under way.
    """

    lost: float = 0.01
    late: float = 0.01
    twice: float = 0.01
    changed: float = 0.01
    process: float = 0.03
    outage: float = 0.01
    coordinator: float = 0.4
    away: float = 0.01
    clock: float = 0.03
    beside: float = 0.03
    signed: float = 0.0005
    signed_before: float = 0.05
    another: float = 0.05


def fault_of(
    choices: Choices, site: str, rate: float, effects: int = EFFECTS, kinds: Sequence[Fault] = tuple(Fault)
) -> tuple[Fault, int] | None:
    """What strikes a process, and at which effect."""
    drawn = choices.happens(site, len(kinds) * effects, rate)
    return (kinds[(drawn - 1) // effects], 1 + (drawn - 1) % effects) if drawn else None


@dataclass
class SuperLink:
    """Everything between coordinator and labels.

    Args:
        processes: the simulation's processes and clock.
        choices: the schedule.
        apps: by node: the label's name, and its Flower app.
        power_cut: what a label's machine loses.
        heard: told what leaves a label: name, request, reply.
        sent: told what leaves the coordinator: name, request.
        rates: how often what goes wrong.
        disk: everybody's disk.
        answers: what labels are known to answer.
        frozen: all frozen folders.
        made: told what a process has done whose answer was known: its plain vectors and bugs.
        recording: records such things while a process runs.
    """

    processes: Processes
    choices: Choices
    apps: dict[int, tuple[str, Callable[[Message, Context], Message]]]
    power_cut: Callable[[str], None]
    heard: Callable[[str, Message, Message], None]
    sent: Callable[[str, Message], None]
    rates: Rates
    disk: Disk
    answers: Answers
    frozen: dict[bytes, Folder]
    made: Callable[[Sequence[Any], Sequence[str]], None]
    recording: Callable[[], AbstractContextManager[tuple[Sequence[Any], Sequence[str]]]]
    _working: list[str] = field(default_factory=list)
    _left: Counter[tuple[str, bytes]] = field(default_factory=Counter)
    """Replies that left a label, by its name and the content of the message."""
    _numbers: Any = field(default_factory=lambda: count(1))
    _due: list[tuple[float, int, Message]] = field(default_factory=list)
    _replies: dict[str, list[tuple[float, Message]]] = field(default_factory=dict)
    _away: dict[str, float] = field(default_factory=dict)

    def later(self, site: str) -> list[float]:
        """When a message arrives, seconds from now: nothing where it is lost, two numbers where it arrives twice."""
        choices, rates = self.choices, self.rates
        if choices.happens(f"{site} lost", 1, rates.lost):
            return []
        late = choices.happens(f"{site} late", len(LATE), rates.late)
        arrivals = [LATE[late - 1] if late else 0.0]
        if twice := choices.happens(f"{site} twice", 1 + len(LATE), rates.twice):
            arrivals.append((0.0, *LATE)[twice - 1])
        return arrivals

    def expect_reached(self, site: str, *, sending: bool = False) -> None:
        """Fail as an outage of the network lets a call fail."""
        kind = self.choices.happens(f"{site} outage", 3 if sending else 2, self.rates.outage)
        if kind:
            raise (httpx.ConnectTimeout("outage"), httpx.ConnectError("outage"), httpx.ReadTimeout("outage"))[kind - 1]

    def changed(self, site: str, message: Message) -> Message:
        """The message, or a copy with one byte changed."""
        where = self.choices.happens(f"{site} changed", CHANGES, self.rates.changed)
        if not where:
            return message
        where = int.from_bytes(blake2b(b"%d" % where, digest_size=6).digest())
        other = copy.deepcopy(message)
        if other.has_error():
            return other
        records = other.content
        arrays = [record for record in records.array_records.values() if where % 3 == 0 and len(record)]
        if arrays:  # what rides along: sums, or the first parameters
            name, array = sorted(arrays[0].items())[where % len(arrays[0])]
            data = array.numpy().copy()
            flat = data.view("u1").reshape(-1)
            flat[where % flat.size] ^= 1 + where % 255
            arrays[0][name] = Array(data)
            return other
        frame = bytearray(records.config_records[RECORD][FRAME])  # type: ignore[arg-type]
        frame[where % len(frame)] ^= 1 + where % 255
        records.config_records[RECORD][FRAME] = bytes(frame)
        return other

    def accept(self, messages: Iterable[Message]) -> list[str]:
        """Take requests; returns their numbers."""
        numbers = []
        if moved := self.choices.happens("clocks moved", len(MOVES), self.rates.clock):
            self.processes.clock.skew = MOVES[moved - 1]
        for message in messages:
            number = f"m{next(self._numbers):08d}"
            message.metadata.__dict__["_message_id"] = number
            numbers.append(number)
            name = self.apps[message.metadata.dst_node_id][0]
            self.sent(name, message)
            for delay in self.later(f"to {name}"):
                self._due.append((self.processes.clock.now + delay, next(self._numbers), message))
        return numbers

    def connected(self) -> list[int]:
        """Nodes whose labels are not away."""
        now = self.processes.clock.now
        for name, _ in self.apps.values():
            if (long := self.choices.happens(f"{name} away", len(LATE), self.rates.away)) and name not in self._away:
                self._away[name] = now + LATE[long - 1]
                if name not in self._working and self.choices.happens(f"{name} without power", 1, 0.5):
                    self.power_cut(name)
        self._away = {name: until for name, until in self._away.items() if until > now}
        return [node for node, (name, _) in self.apps.items() if name not in self._away]

    def deliver(self) -> None:
        """Hand over everything that has arrived by now."""
        now = self.processes.clock.now
        here = {node for node, (name, _) in self.apps.items() if self._away.get(name, 0.0) <= now}
        ready = [each for each in self._due if each[0] <= now and each[2].metadata.dst_node_id in here]
        for place in self.choices.order("requests", len(ready)):
            if ready[place] in self._due:  # and has not been handed over beside another one
                self._due.remove(ready[place])
                self.answered(ready[place][2])

    def beside(self, process: Process, what: str) -> None:
        """Hand a label another message while it answers one, at an effect that the schedule chose."""
        if process.beside and process.effects == process.beside and what != "commit":
            now = self.processes.clock.now
            node = next((node for node, (name, _) in self.apps.items() if name == process.machine), None)
            more = [each for each in self._due if each[0] <= now and each[2].metadata.dst_node_id == node]
            if more:
                self._due.remove(more[0])
                self.answered(more[0][2])

    def answered(self, message: Message) -> None:
        """Have a label answer a message; its reply is on its way then."""
        node = message.metadata.dst_node_id
        name, _ = self.apps[node]
        if self.answers.delivered is not None:
            self.answers.delivered.append((name, message))
        received = self.changed(f"to {name}", message)
        fault = fault_of(self.choices, f"{name} fault", self.rates.process)
        beside = self.choices.happens(f"{name} beside", EFFECTS, self.rates.beside)
        if not any(each[2].metadata.dst_node_id == node for each in self._due):
            beside = 0
        content = content_of(received)
        answer = self._answer(node, received, content, fault, beside)
        if answer.ended:
            if fault and fault[0] is Fault.POWER:
                self.power_cut(name)
            return
        reply = answer.reply_to(received)
        assert reply is not None
        reply.metadata.__dict__["_src_node_id"] = node
        self._left[name, content] += 1
        self.heard(name, received, reply)
        for delay in self.later(f"from {name}"):
            arrives = self.processes.clock.now + delay
            number = reply.metadata.reply_to_message_id
            self._replies.setdefault(number, []).append((arrives, self.changed(f"from {name}", reply)))

    def _answer(
        self, node: int, received: Message, content: bytes, fault: tuple[Fault, int] | None, beside: int
    ) -> Answer:
        """What comes of a message: known, or answered by the label's app."""
        name, app = self.apps[node]
        strike = (Fault.KILLED, fault[1]) if fault and fault[0] is Fault.POWER else fault
        clock = self.processes.clock
        inner = name in self._working
        state = b"" if inner else self.disk.freeze(name, self.frozen).digest
        when = clock.now // MINUTE, clock.skew, self._left[name, content]
        key = key_of(name, state, content, *when, beside, len(self._working) if inner else 0)
        known = None if inner or beside else self.answers.find(key, strike)
        if known:
            self.disk.put(name, known.state)
            self.made(known.vectors, known.bugs)
            return known
        if not inner:
            self.disk.thaw(name)
        caller, self.processes.running = self.processes.running, None
        step, clock.step, began = clock.step, MINUTE, clock.now
        self._working.append(name)
        reply: Message | None = None
        with self.recording() as (vectors, bugs):
            try:
                what = f"{name} {received.metadata.message_type}"
                with self.processes.process(what, name, strike, key) as process:
                    process.beside = beside
                    reply = app(received, Context(1, node, {"node": node}, RecordDict(), {}))
                    if process.ended:  # it could not tell
                        raise Killed(process.ended)
            except Killed:
                reply = None
            finally:
                self._working.remove(name)
                self.processes.running, clock.step = caller, step
        done = name not in self._working  # otherwise another process of this label is still at work
        folder = self.disk.freeze(name, self.frozen) if done else self.disk.machine(name)
        answer = Answer.of(process, folder, reply, vectors, bugs)
        if done and not (inner or beside or clock.now != began):
            self.answers.keep(key, strike, answer, struck=process.struck)
        return answer

    def collect(self, numbers: Iterable[str]) -> list[Message]:
        """Replies to these messages that have arrived."""
        self.deliver()
        now = self.processes.clock.now
        found = []
        for number in sorted(numbers):
            waiting = self._replies.get(number, [])
            found += [reply for arrives, reply in waiting if arrives <= now]
            self._replies[number] = [each for each in waiting if each[0] > now]
        return [found[place] for place in self.choices.order("replies", len(found))]


class Connection:
    """One coordinator's process' connection: Flower's grid as `PollingGrid` sees it."""

    def __init__(self, link: SuperLink, name: str, on_call: Callable[[], None] = lambda: None) -> None:
        self._link, self._name, self._on_call = link, name, on_call

    def get_node_ids(self) -> list[int]:
        self._on_call()
        self._link.expect_reached(self._name)
        return self._link.connected()

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        self._on_call()
        sent = list(messages)
        self._link.processes.effect(f"send {sent[0].metadata.message_type}" if sent else "send nothing")
        try:
            self._link.expect_reached(self._name, sending=True)
        except httpx.ReadTimeout:
            self._link.accept(sent)  # they were sent, but nobody knows
            raise
        return self._link.accept(sent)

    def pull_messages(self, numbers: Iterable[str]) -> list[Message]:
        self._on_call()
        self._link.expect_reached(self._name)
        return self._link.collect(numbers)


def frame_of(message: Message) -> bytes | None:
    """The frame in a message; None if it is an error."""
    if message.has_error():
        return None
    frame = message.content.config_records[RECORD][FRAME]
    return frame if isinstance(frame, bytes) else None
