"""Blues shuffle: twelve bars of dominant sevenths in triplets, boogie or walking bass, a blues-scale lead."""

from sottovoce_simulations.synthesis.scene import Scene, Style
from sottovoce_simulations.synthesis.score import Hit, Note, Part, Score
from sottovoce_simulations.synthesis.theory import SCALES, degree, voicing, walk

_TWELVE_BARS = (0, 0, 0, 0, 5, 5, 0, 0, 7, 5, 0, 7)
_QUICK_CHANGE = (0, 5, 0, 0, 5, 5, 0, 0, 7, 5, 0, 0)
_BOOGIE = (0, 7, 9, 7, 10, 9, 7, 4)
_SWING = 2 / 3


def compose(scene: Scene) -> Score:
    """Begins anywhere in the twelve bars."""
    bars = scene.pick((_TWELVE_BARS, _QUICK_CHANGE))
    first = int(scene.rng.integers(12))
    chords = [bars[(first + bar) % 12] for bar in range(scene.beats // 4 + 1)]
    swing = scene.between(_SWING - 0.08, _SWING + 0.04)
    parts = [
        Part("bass", scene.voice("fingered", "upright", "tuba"), _bass(scene, chords, swing), level=0),
        Part(
            "chords",
            scene.voice("organ", "piano", "electric", "brass"),
            _comping(scene, chords, swing),
            level=scene.between(-9, -3),
            pan=-0.3,
        ),
    ]
    if scene.chance(0.85):
        lead = scene.voice("electric", "harmonica", "saxophone", "steel", "piano")
        parts.append(Part("lead", lead, _lead(scene, swing), level=scene.between(-4, 2), pan=0.25))
    return Score(scene.tempo, tuple(parts), _drums(scene, swing) if scene.chance(0.88) else (), drums=-3)


def _bass(scene: Scene, chords: list[int], swing: float) -> tuple[Note, ...]:
    low, notes = scene.root - 12, []
    kind = scene.pick(("boogie", "walking", "roots"))
    for bar, chord in enumerate(chords):
        for eighth in range(8):
            start = bar * 4 + eighth // 2 + (swing if eighth % 2 else 0)
            if kind == "boogie":
                notes.append(Note(start, 0.32, low + chord + _BOOGIE[eighth], 0.8))
            elif kind == "walking" and eighth % 2 == 0:
                notes.append(Note(start, 0.85, low + chord + (0, 4, 7, scene.pick((9, 10, 5)))[eighth // 2], 0.85))
            elif kind == "roots" and eighth in (0, 3, 4, 7):
                notes.append(Note(start, 0.5, low + chord, 0.85))
    return tuple(notes)


def _comping(scene: Scene, chords: list[int], swing: float) -> tuple[Note, ...]:
    pattern = scene.pick(((1, 3), (0, swing, 2, 2 + swing), (swing, 2 + swing), (0, 1, 2, 3)))
    length = scene.pick((0.2, 0.4, 0.8))
    return tuple(
        Note(bar * 4 + at, length, pitch, 0.6)
        for bar, chord in enumerate(chords)
        for at in pattern
        for pitch in voicing([scene.root + chord + third for third in (4, 7, 10)], scene.root + 14, 3)
    )


def _lead(scene: Scene, swing: float) -> tuple[Note, ...]:
    scale, beat = SCALES["blues"], 0
    notes: list[Note] = []
    line = iter(walk(scene.rng, scene.beats * 4, low=3, high=12, leap=0.15))
    while beat < scene.beats:
        if scene.chance(0.25):  # a breath between two licks
            beat += scene.pick((1, 2))
            continue
        notes += [
            Note(beat + at, 0.34, degree(scale, scene.root + 5, next(line) - 1), scene.between(0.6, 1))
            for at in scene.pick(((0,), (0, swing), (0, swing), (0, 1 / 3, 2 / 3)))
        ]
        beat += 1
    return tuple(notes)


def _drums(scene: Scene, swing: float) -> tuple[Hit, ...]:
    cymbal, back = scene.pick(("ride", "hat", "open")), scene.pick(("snare", "snare", "rim", "brush"))
    hits = []
    for beat in range(scene.beats):
        hits += [Hit(beat, cymbal, 0.5), Hit(beat + swing, cymbal, 0.35)]
        hits.append(Hit(beat, back if beat % 2 else "kick", 0.8))
        if scene.chance(0.15):
            hits.append(Hit(beat + swing, scene.pick(("kick", "snare")), 0.5))
    return tuple(hits)


STYLE = Style("blues", (72, 150), 0.8, compose)
