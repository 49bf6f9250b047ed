"""Chorale: four voices in slow chords, passing notes between, no drums."""

from sottovoce_simulations.synthesis.scene import Scene, Style
from sottovoce_simulations.synthesis.score import Note, Part, Score
from sottovoce_simulations.synthesis.theory import degree, nearest, triad

_NEXT = {0: (3, 4, 5, 1, 3), 1: (4, 4, 6), 2: (5, 3), 3: (4, 0, 1, 4), 4: (0, 0, 5), 5: (1, 3, 4), 6: (0,)}
_RANGES = ((21, 6.0), (11, 4.0), (5, 4.0), (-4, 6.0))  # centre above the tonic below middle C, and width: SATB


def compose(scene: Scene) -> Score:
    """Functional harmony that ends each phrase on tonic or dominant; each voice moves as little as it can."""
    scale = scene.scale("major", "minor", "dorian", "harmonic")
    step = 0
    chords: list[int] = []
    while len(chords) < scene.beats:
        chords.append(step)
        step = scene.pick(_NEXT[step])
    seventh = scene.chance(0.3)
    length = scene.pick((1, 1, 2))
    lines: list[list[Note]] = [[] for _ in _RANGES]
    places = [float(scene.root + centre) for centre, _ in _RANGES]
    for index, step in enumerate(chords[: scene.beats // length + 1]):
        chord = triad(scale, scene.root, step, 4 if seventh and step == 4 else 3)
        held = length * (1.6 if index % 8 == 7 else 1.0)
        for voice, (centre, width) in enumerate(_RANGES):
            wanted = places[voice] + scene.rng.normal(0, width / 2) * (0.9 if voice == 0 else 0.4)
            wanted += 0.35 * (scene.root + centre - wanted)
            pitch = nearest(chord[:1] if voice == 3 and scene.chance(0.7) else chord, wanted)
            start = index * length
            if scene.chance(0.22):
                between = nearest([degree(scale, scene.root, k) for k in range(7)], (pitch + places[voice]) / 2 + 0.5)
                lines[voice].append(Note(start - length / 2, length / 2, between, 0.65))
            lines[voice].append(Note(start, held * 0.96, pitch, 0.75))
            places[voice] = pitch
    singer = scene.voice("organ", "choir", "strings", "brass", "accordion")
    pans = (-0.4, -0.1, 0.15, 0.4)
    roles = ("lead", "chords", "chords", "bass")
    parts = [
        Part(role, singer, tuple(line), level=scene.between(-3, 1), pan=pan)
        for role, line, pan in zip(roles, lines, pans, strict=True)
    ]
    if scene.chance(0.25):  # a second choir doubles the soprano
        parts.append(Part("colour", scene.voice("flute", "fiddle", "choir"), tuple(lines[0]), level=-6))
    return Score(scene.tempo, tuple(parts))


STYLE = Style("chorale", (52, 112), 1.6, compose)
