"""Bossa nova: syncopated guitar chords with sevenths and ninths, a bass of root and fifth, a soft clave."""

from sottovoce_simulations.synthesis.scene import Scene, Style
from sottovoce_simulations.synthesis.score import Hit, Note, Part, Score
from sottovoce_simulations.synthesis.theory import degree, triad, voicing, walk

_PROGRESSIONS = ((1, 4, 0, 0), (0, 5, 1, 4), (0, 1, 2, 5), (0, 3, 1, 4), (2, 5, 1, 4))
_COMPING = ((0, 1.5, 3, 4, 5.5, 6.5), (0, 1, 2.5, 4, 5.5, 7), (0.5, 1.5, 3, 4.5, 6, 7), (0, 1.5, 2.5, 4, 5, 6.5))
_CLAVE = (0, 1.5, 3, 5, 6.5)


def compose(scene: Scene) -> Score:
    """One or two bars per chord, over a clave of two bars."""
    scale = scene.scale("major", "dorian", "minor", "lydian")
    progression, comping = scene.pick(_PROGRESSIONS), scene.pick(_COMPING)
    bars = 2 if scene.chance(0.4) else 1
    chords: list[Note] = []
    bass: list[Note] = []
    for half in range(0, scene.beats, 4):
        step = progression[half // 4 // bars % 4]
        notes = voicing(triad(scale, scene.root, step, 5)[1:], scene.root + 14, 4)
        for at in comping:
            if half % 8 <= at + half % 8 < half % 8 + 4 and at // 4 == half // 4 % 2:
                chords.extend(Note(half + at % 4, scene.between(0.3, 0.9), pitch, 0.6) for pitch in notes)
        root, fifth = degree(scale, scene.root - 12, step), degree(scale, scene.root - 12, step + 4)
        for at, pitch in ((0, root), (1.5, root), (2, fifth - 12 * (fifth > 50)), (3.5, fifth - 12 * (fifth > 50))):
            if at in (0, 2) or scene.chance(0.75):
                bass.append(Note(half + at, 1.2 if at in (0, 2) else 0.45, pitch, 0.8))
    parts = [
        Part("chords", scene.voice("nylon", "nylon", "rhodes", "piano"), tuple(chords), level=-4, pan=-0.2),
        Part("bass", scene.voice("upright", "fingered"), tuple(bass), level=scene.between(-2, 2)),
    ]
    if scene.chance(0.8):
        lead = scene.voice("flute", "saxophone", "vibraphone", "choir", "nylon", "clarinet")
        parts.append(Part("lead", lead, _melody(scene, scale), level=scene.between(-4, 1), pan=0.2))
    return Score(scene.tempo, tuple(parts), _drums(scene) if scene.chance(0.85) else (), drums=scene.between(-9, -3))


def _melody(scene: Scene, scale: tuple[float, ...]) -> tuple[Note, ...]:
    notes, beat = [], scene.pick((0, 0.5, 1.5))
    for step in walk(scene.rng, scene.beats * 2, low=5, high=14):
        length = scene.pick((0.5, 0.5, 1.0, 1.5, 2.0))
        if beat >= scene.beats:
            break
        if not scene.chance(0.2):
            notes.append(Note(beat, length * 0.9, degree(scale, scene.root + 7, step - 3), scene.between(0.6, 0.9)))
        beat += length
    return tuple(notes)


def _drums(scene: Scene) -> tuple[Hit, ...]:
    keeper, clave = scene.pick(("shaker", "hat", "brush")), scene.pick(("rim", "rim", "conga"))
    hits = [
        Hit(step / 2, keeper, 0.55 if step % 2 == 0 else scene.between(0.25, 0.4)) for step in range(scene.beats * 2)
    ]
    hits += [Hit(bar + at, clave, 0.7) for bar in range(0, scene.beats, 8) for at in _CLAVE]
    if scene.chance(0.6):
        hits += [Hit(beat + at, "kick", 0.45) for beat in range(0, scene.beats, 2) for at in (0, 1.5)]
    return tuple(hits)


STYLE = Style("bossa", (112, 172), 0.9, compose)
