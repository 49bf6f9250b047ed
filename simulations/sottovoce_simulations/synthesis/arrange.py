"""Unusual arrangements, which make styles overlap: other instruments, a missing player, no drummer or another one."""

from dataclasses import replace

from sottovoce_simulations.synthesis.palette import PALETTE
from sottovoce_simulations.synthesis.scene import Scene
from sottovoce_simulations.synthesis.score import Hit, Part, Score

_BEATS = (
    ((0, "kick"), (1, "snare"), (1.5, "hat"), (0.5, "hat")),
    ((0, "kick"), (1, "kick"), (0.5, "open"), (1.5, "open")),
    ((0, "thud"), (1, "brush"), (1.5, "brush")),
    ((0, "rim"), (0.75, "rim"), (1.5, "rim"), (0.5, "shaker"), (1.0, "shaker")),
)


def arrange(score: Score, scene: Scene) -> Score:
    """The score as this artist records it: each change has the artist's own probability."""
    odd = scene.artist.eccentric
    parts = score.parts
    if scene.chance(odd):
        parts = tuple(_handed_over(part, scene) for part in parts)
    elif scene.chance(odd):
        chosen = int(scene.rng.integers(len(parts)))
        parts = tuple(_handed_over(part, scene) if index == chosen else part for index, part in enumerate(parts))
    if len(parts) > 1 and scene.chance(odd):
        left_out = scene.pick(parts).role
        parts = tuple(part for part in parts if part.role != left_out) or parts
    hits = score.hits
    if scene.chance(odd):
        hits = () if hits else _borrowed(scene)
    return replace(score, parts=parts, hits=hits)


def _handed_over(part: Part, scene: Scene) -> Part:
    return replace(part, voice=PALETTE[scene.pick(tuple(PALETTE))].varied(scene.rng, 0.5))


def _borrowed(scene: Scene) -> tuple[Hit, ...]:
    figure = scene.pick(_BEATS)
    return tuple(Hit(beat + at, drum, 0.5) for beat in range(0, scene.beats, 2) for at, drum in figure)
