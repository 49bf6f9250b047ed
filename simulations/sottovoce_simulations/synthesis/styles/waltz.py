"""Waltz and folk dance in three: a low note, two chords, and a singing melody."""

from sottovoce_simulations.synthesis.scene import Scene, Style
from sottovoce_simulations.synthesis.score import Hit, Note, Part, Score
from sottovoce_simulations.synthesis.theory import degree, nearest, triad, voicing

_PROGRESSIONS = ((0, 0, 4, 4, 4, 4, 0, 0), (0, 3, 4, 0), (0, 5, 1, 4), (0, 0, 3, 0, 4, 4, 0, 0), (0, 4, 5, 3))
_RHYTHMS = ((0, 1, 2), (0, 2), (0,), (0, 1, 1.5, 2), (0, 1.5, 2), (0, 0.5, 1, 1.5, 2, 2.5), (0, 2, 2.5))


def compose(scene: Scene) -> Score:
    """Bars of three beats under a melody that repeats its rhythms."""
    scale = scene.scale("major", "minor", "harmonic", "mixolydian")
    progression = scene.pick(_PROGRESSIONS)
    rhythms = [scene.pick(_RHYTHMS) for _ in range(4)]
    bass, chords, melody = [], [], []
    place = scene.root + 19.0
    for bar in range(scene.beats // 3 + 1):
        step, start = progression[bar % len(progression)], bar * 3
        chord = triad(scale, scene.root, step)
        low = nearest([chord[0] if bar % 2 == 0 else chord[2]], scene.root - 8)
        bass.append(Note(start, 0.9, low, 0.85))
        length = scene.between(0.3, 0.6)
        chords += [
            Note(start + beat, length, pitch, 0.6) for beat in (1, 2) for pitch in voicing(chord, scene.root + 10, 3)
        ]
        rhythm = rhythms[bar % 4]
        for index, at in enumerate(rhythm):
            tones = chord if index == 0 else [degree(scale, scene.root, k) for k in range(7)]
            wanted = place + scene.rng.normal(0, 2.5) + 0.2 * (scene.root + 20 - place)
            place = nearest(tones, wanted)
            end = rhythm[index + 1] if index + 1 < len(rhythm) else 3
            if scene.chance(0.12):
                melody.append(Note(start + at - 0.12, 0.1, nearest(tones, place + 2), 0.5))
            melody.append(Note(start + at, (end - at) * 0.92, place, scene.between(0.65, 0.95)))
    parts = [
        Part("bass", scene.voice("upright", "tuba", "accordion", "piano"), tuple(bass), level=-2),
        Part("chords", scene.voice("accordion", "piano", "nylon", "steel", "harp"), tuple(chords), level=-6, pan=-0.3),
    ]
    lead = scene.voice("accordion", "fiddle", "clarinet", "flute", "harmonica", "piano")
    parts.append(Part("lead", lead, tuple(melody), level=scene.between(-3, 2), pan=0.25))
    if scene.chance(0.3):
        thirds = tuple(Note(n.start, n.length, n.pitch - scene.pick((3, 4)), n.velocity * 0.7) for n in melody)
        parts.append(Part("colour", scene.voice("fiddle", "accordion", "clarinet"), thirds, level=-6))
    return Score(scene.tempo, tuple(parts), _drums(scene) if scene.chance(0.3) else (), drums=-9)


def _drums(scene: Scene) -> tuple[Hit, ...]:
    soft = scene.pick(("brush", "hat", "shaker"))
    return tuple(
        Hit(beat, "kick" if beat % 3 == 0 else soft, 0.6 if beat % 3 == 0 else 0.4) for beat in range(scene.beats)
    )


STYLE = Style("waltz", (92, 190), 1.0, compose)
