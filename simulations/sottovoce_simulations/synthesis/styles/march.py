"""March: brass in two, low notes on the beat and horns off it, snare drum and cymbals."""

from sottovoce_simulations.synthesis.scene import Scene, Style
from sottovoce_simulations.synthesis.score import Hit, Note, Part, Score
from sottovoce_simulations.synthesis.theory import degree, nearest, triad, voicing

_PROGRESSIONS = ((0, 0, 4, 0), (0, 3, 4, 0), (0, 5, 1, 4), (0, 0, 3, 4), (0, 4, 4, 0))
_RHYTHMS = ((0, 1), (0, 0.75, 1), (0, 0.5, 1, 1.5), (0,), (0, 0.75, 1, 1.75), (0, 1, 1.5))


def compose(scene: Scene) -> Score:
    """Two beats per bar."""
    scale = scene.scale("major", "major", "minor", "mixolydian")
    progression = scene.pick(_PROGRESSIONS)
    rhythms = [scene.pick(_RHYTHMS) for _ in range(4)]
    bass, horns, melody = [], [], []
    place = scene.root + 16.0
    for bar in range(scene.beats // 2 + 1):
        start, chord = bar * 2, triad(scale, scene.root, progression[bar // 2 % len(progression)])
        for beat in (0, 1):
            bass.append(Note(start + beat, 0.5, nearest([chord[0 if beat == 0 else 2]], scene.root - 10), 0.9))
            horns += [Note(start + beat + 0.5, 0.3, pitch, 0.6) for pitch in voicing(chord, scene.root + 9, 3)]
        rhythm = rhythms[bar % 4]
        for index, at in enumerate(rhythm):
            tones = chord if at == int(at) else [degree(scale, scene.root, k) for k in range(7)]
            place = nearest(tones, place + scene.rng.normal(0, 3) + 0.25 * (scene.root + 17 - place))
            end = rhythm[index + 1] if index + 1 < len(rhythm) else 2
            melody.append(Note(start + at, (end - at) * 0.8, place, scene.between(0.75, 1.0)))
    parts = [
        Part("bass", scene.voice("tuba", "tuba", "brass"), tuple(bass), level=0),
        Part("chords", scene.voice("brass", "clarinet", "saxophone"), tuple(horns), level=-6, pan=-0.3),
        Part("lead", scene.voice("brass", "brass", "clarinet", "flute"), tuple(melody), level=scene.between(-2, 2)),
    ]
    if scene.chance(0.5):
        octave = tuple(Note(n.start, n.length, n.pitch + 12, n.velocity * 0.7) for n in melody)
        parts.append(Part("colour", scene.voice("flute", "clarinet", "fiddle"), octave, level=-7, pan=0.4))
    return Score(scene.tempo, tuple(parts), _drums(scene) if scene.chance(0.85) else (), drums=scene.between(-7, -1))


def _drums(scene: Scene) -> tuple[Hit, ...]:
    hits = []
    figure = scene.pick(((0.5,), (0, 0.5), (0, 0.25, 0.5, 0.75), (0, 0.5, 0.75)))
    for beat in range(scene.beats):
        if beat % 2 == 0:
            hits.append(Hit(beat, "thud", 0.9))
        if beat % 8 == 7:
            hits += [Hit(beat + k / 6, "roll", 0.35 + k * 0.08) for k in range(6)]
        else:
            hits += [Hit(beat + at, "snare", scene.between(0.4, 0.7)) for at in figure]
        if beat % 8 == 0 and scene.chance(0.6):
            hits.append(Hit(beat, "cymbal", 0.6))
    return tuple(hits)


STYLE = Style("march", (96, 136), 1.1, compose)
