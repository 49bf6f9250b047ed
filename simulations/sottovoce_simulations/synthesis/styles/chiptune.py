"""Chiptune: square waves, chords broken into fast arpeggios, a triangle bass and noise for drums."""

from sottovoce_simulations.synthesis.scene import Scene, Style
from sottovoce_simulations.synthesis.score import Hit, Note, Part, Score
from sottovoce_simulations.synthesis.theory import degree, nearest, triad

_PROGRESSIONS = ((0, 5, 3, 4), (0, 3, 4, 4), (0, 4, 5, 3), (0, 6, 5, 6), (0, 2, 3, 4), (5, 3, 0, 4))


def compose(scene: Scene) -> Score:
    """Four channels, as on the original machines."""
    scale = scene.scale("major", "minor", "dorian", "mixolydian")
    progression = scene.pick(_PROGRESSIONS)
    fastness = scene.pick((2, 3, 4, 4, 6, 8))
    arpeggio, bass, lead = [], [], []
    pattern = [scene.pick((0, 0.5, 0.5, 1.0)) for _ in range(16)]
    shape = [int(scene.rng.integers(-2, 3)) for _ in range(16)]
    octave = scene.pick((False, True))
    place = scene.root + 24.0
    for beat in range(scene.beats):
        chord = triad(scale, scene.root + 12, progression[beat // 4 % 4])
        arpeggio += [
            Note(beat + k / fastness, 0.9 / fastness, (*chord, chord[0] + 12)[k % (3 + octave)], 0.6)
            for k in range(fastness)
        ]
        low = chord[0] - 24
        bass += [Note(beat + half, 0.42, low + 12 * (half > 0 and octave), 0.9) for half in (0, 0.5)]
        length = pattern[beat % 16]
        tones = [degree(scale, scene.root, k) for k in range(7)]
        for half in (0, 0.5)[: 1 if length == 1.0 else 2]:
            if length:
                wanted = place + shape[(beat * 2 + round(half * 2)) % 16] + 0.15 * (scene.root + 26 - place)
                place = nearest(chord if half == 0 else tones, wanted)
                lead.append(Note(beat + half, length * 0.9, place, 0.8))
    parts = [
        Part("chords", scene.voice("pulse", "square"), tuple(arpeggio), level=scene.between(-9, -4), pan=-0.4),
        Part("bass", scene.voice("triangle", "triangle", "square"), tuple(bass), level=scene.between(-2, 2)),
        Part("lead", scene.voice("square", "pulse", "saw"), tuple(lead), level=scene.between(-5, 0), pan=0.3),
    ]
    return Score(scene.tempo, tuple(parts), _drums(scene) if scene.chance(0.85) else (), drums=scene.between(-8, -2))


def _drums(scene: Scene) -> tuple[Hit, ...]:
    hits, dense = [], scene.chance(0.5)
    for beat in range(scene.beats):
        hits.append(Hit(beat, "burst" if beat % 2 else "kick", 0.7))
        hits.append(Hit(beat + 0.5, "blip", 0.5))
        if dense:
            hits += [Hit(beat + 0.25, "blip", 0.3), Hit(beat + 0.75, "blip", 0.3)]
    return tuple(hits)


STYLE = Style("chiptune", (110, 185), 0.3, compose)
