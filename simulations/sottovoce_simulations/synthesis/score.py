"""A composed piece: notes and drum hits in beats, parts for voices, and levels."""

from dataclasses import dataclass, field

from sottovoce_simulations.synthesis.voices import Voice


@dataclass(frozen=True)
class Note:
    """One note.

    Args:
        start: beats from the beginning.
        length: beats.
        pitch: MIDI number; a fraction is a pitch between two keys.
        velocity: loudness, 0 to 1.
    """

    start: float
    length: float
    pitch: float
    velocity: float = 0.8


@dataclass(frozen=True)
class Hit:
    """One stroke on a drum of the kit, at a beat, with a loudness of 0 to 1."""

    start: float
    drum: str
    velocity: float = 0.8


@dataclass(frozen=True)
class Part:
    """One player's part.

    Args:
        role: `lead`, `chords`, `bass` or `colour`; an arrangement may omit a role.
        voice: the instrument.
        notes: in any order.
        level: dB.
        pan: -1 (left) to 1 (right).
    """

    role: str
    voice: Voice
    notes: tuple[Note, ...]
    level: float = 0.0
    pan: float = 0.0


@dataclass(frozen=True)
class Score:
    """A piece.

    Args:
        tempo: beats per minute.
        parts: the players.
        hits: the drummer's strokes.
        drums: level of the drummer, dB.
    """

    tempo: float
    parts: tuple[Part, ...]
    hits: tuple[Hit, ...] = field(default=())
    drums: float = 0.0
