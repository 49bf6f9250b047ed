"""A participant's secret state as bytes, for the label's own disk: versioned, strict, no pickle.

A checksum at the end tells damage, not malice: whoever can write this file is the label itself.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Annotated, Any

from sottovoce.errors import LocalProtocolError
from sottovoce.federation.agreement import MOST_LABELS
from sottovoce.protocol.encoding import Blob, Body, Choice, Fixed, Many, Name, Number, Reader, Record
from sottovoce.protocol.messages import DIGEST_BYTES, MOST_CONFIG_BYTES, Advert, ReportRequest, decode
from sottovoce.protocol.progress import Checked, Idle, Progress, Reported, Reporting
from sottovoce.protocol.round_context import Round
from sottovoce.protocol.states import Phase

MAGIC = b"SoVs\x01"


@dataclass(frozen=True)
class Saved(Record):
    """Everything a label must remember of a run between two messages. The private parts never print."""

    private_key: Annotated[bytes, Fixed(32)] = field(repr=False)
    config: Annotated[bytes, Blob(most=MOST_CONFIG_BYTES)] = field(repr=False)
    advert: Annotated[Advert, Body(Advert)]
    newest_round: Annotated[int, Number(4)]
    phase: Annotated[Phase, Choice(Phase)]
    request: Annotated[bytes, Blob()] = field(repr=False)
    own: Annotated[bytes, Blob()] = field(repr=False)
    survivors: Annotated[tuple[str, ...], Many(Name(), most=MOST_LABELS, ascending=True)]

    @classmethod
    def of(cls, *, private_key: bytes, config: bytes, advert: Advert, newest_round: int, progress: Progress) -> "Saved":
        """The record of these values."""
        request = b"" if isinstance(progress, Idle) else progress.round.request.encode()
        own = progress.own if isinstance(progress, (Reported, Checked)) else b""
        survivors = progress.survivors if isinstance(progress, Checked) else ()
        return cls(private_key, config, advert, newest_round, progress.phase, request, own, survivors)

    @property
    def progress(self) -> Progress:
        """How far the label had come.

        Raises:
            LocalProtocolError: the fields do not belong together.
        """
        states: dict[Phase, Any] = {
            Phase.IDLE: lambda: Idle(),
            Phase.REPORTING: lambda: Reporting(self._round()),
            Phase.REPORTED: lambda: Reported(self._round(), self.own),
            Phase.CHECKED: lambda: Checked(self._round(), self.own, self.survivors),
        }
        if self.phase not in states:
            raise LocalProtocolError("A label's saved state is in no phase that can be saved.")
        progress: Progress = states[self.phase]()
        return progress

    def _round(self) -> Round:
        request = decode(self.request)
        if not isinstance(request, ReportRequest):
            raise LocalProtocolError("A label's saved state holds no round.")
        return Round(request)

    def to_bytes(self) -> bytes:
        """The one encoding."""
        parts: list[bytes | memoryview] = [MAGIC]
        self.write(parts)
        body = b"".join(parts)
        return body + hashlib.sha256(body).digest()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Saved":
        """Read what `to_bytes` wrote.

        Raises:
            LocalProtocolError: the bytes are damaged or of another version.
        """
        body, checksum = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
        reader = Reader(body)
        try:
            if hashlib.sha256(body).digest() != checksum:
                raise ValueError("its checksum is wrong")
            if reader.take(len(MAGIC)) != MAGIC:
                raise ValueError("it does not start like one of this version")
            saved = cls.read(reader)
            reader.finish()
        except (ValueError, LocalProtocolError) as error:
            raise LocalProtocolError(f"A label's saved state cannot be read: {error}.") from None
        return saved
