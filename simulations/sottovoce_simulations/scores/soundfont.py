"""Rendering of notes with a General MIDI sound font: tinysoundfont and pretty_midi's TimGM6mb.sf2."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_CHANNELS = 16
_VOICES = 128


@dataclass(frozen=True)
class Stroke:
    """A note to play: start and duration in seconds, MIDI key and velocity, channel from 0 to 15."""

    start: float
    length: float
    key: int
    velocity: int
    channel: int


def play(strokes: Sequence[Stroke], *, program: int, seconds: float, rate: int) -> NDArray[np.float32]:
    """Play notes on one instrument.

    Args:
        strokes: the notes.
        program: General MIDI program, 0 to 127.
        seconds: length of the result.
        rate: Hz.

    Returns:
        `[samples]`, mono.

    Raises:
        ImportError: tinysoundfont or pretty_midi is not installed.
    """
    import tinysoundfont

    synth = tinysoundfont.Synth(samplerate=rate)
    font = synth.sfload(_font(), max_voices=_VOICES)
    for channel in range(_CHANNELS):
        synth.program_select(channel, font, 0, program)
    samples = round(seconds * rate)
    # At equal times, release keys before striking others: a repeated note must sound again.
    events = sorted(
        event
        for stroke in strokes
        for event in (
            (round(stroke.start * rate), 1, stroke.channel, stroke.key, stroke.velocity),
            (round((stroke.start + stroke.length) * rate), 0, stroke.channel, stroke.key, 0),
        )
    )
    blocks, position = [], 0
    for at, struck, channel, key, velocity in events:
        if at >= samples:
            break
        if at > position:
            blocks.append(_stereo(synth.generate_simple(at - position)))
            position = at
        if struck:
            synth.noteon(channel, key, velocity)
        else:
            synth.noteoff(channel, key)
    blocks.append(_stereo(synth.generate_simple(samples - position)))
    return np.asarray(np.concatenate(blocks).mean(axis=1))


def _stereo(buffer: memoryview) -> NDArray[np.float32]:
    return np.frombuffer(buffer, np.float32).reshape(-1, 2)


@cache
def _font() -> bytes:
    import pretty_midi

    return (Path(pretty_midi.__file__).parent / "TimGM6mb.sf2").read_bytes()
