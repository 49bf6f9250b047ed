"""Minimal techno: four on the floor, off-beat hats, a bass line of a few notes, chord stabs."""

from sottovoce_simulations.synthesis.scene import Scene, Style
from sottovoce_simulations.synthesis.score import Hit, Note, Part, Score
from sottovoce_simulations.synthesis.theory import degree, triad, voicing


def compose(scene: Scene) -> Score:
    """Loops of one or two bars, repeated with small changes."""
    scale = scene.scale("minor", "phrygian", "dorian")
    parts = [Part("bass", scene.voice("acid", "sub", "saw"), _bass(scene, scale), level=scene.between(-4, 0))]
    if scene.chance(0.75):
        stabs = scene.voice("saw", "rhodes", "organ", "pad", "pulse")
        parts.append(Part("chords", stabs, _stabs(scene, scale), level=scene.between(-10, -4), pan=0.3))
    if scene.chance(0.4):
        lead = scene.voice("pulse", "acid", "bell", "marimba")
        parts.append(Part("lead", lead, _lead(scene, scale), level=scene.between(-12, -6), pan=-0.3))
    if scene.chance(0.4):
        drone = tuple(Note(bar, 8, scene.root + 12, 0.5) for bar in range(0, scene.beats, 8))
        parts.append(Part("colour", scene.voice("pad", "glass"), drone, level=-9))
    return Score(scene.tempo, tuple(parts), _drums(scene), drums=scene.between(-2, 3))


def _loop(scene: Scene, density: float, steps: int = 16) -> list[int]:
    return [step for step in range(steps) if scene.chance(density)] or [0]


def _bass(scene: Scene, scale: tuple[float, ...]) -> tuple[Note, ...]:
    loop = [(step, scene.pick((0, 0, 0, 7, -2, 2, 4))) for step in _loop(scene, scene.between(0.3, 0.8))]
    low = scene.root - 12
    return tuple(
        Note(bar + step / 4, 0.22, degree(scale, low, pitch), scene.between(0.6, 1.0))
        for bar in range(0, scene.beats, 4)
        for step, pitch in loop
        if not scene.chance(0.05)
    )


def _stabs(scene: Scene, scale: tuple[float, ...]) -> tuple[Note, ...]:
    loop = _loop(scene, 0.15)
    chords = [scene.pick((0, 0, 3, 5, 6)) for _ in range(2)]
    length = scene.pick((0.15, 0.25, 0.5))
    return tuple(
        Note(bar + step / 4, length, pitch, 0.6)
        for bar in range(0, scene.beats, 4)
        for step in loop
        for pitch in voicing(triad(scale, scene.root, chords[bar // 4 % 2], 4), scene.root + 16, 4)
    )


def _lead(scene: Scene, scale: tuple[float, ...]) -> tuple[Note, ...]:
    loop = [(step, scene.pick((0, 2, 4, 7))) for step in _loop(scene, 0.3)]
    return tuple(
        Note(bar + step / 4, 0.2, degree(scale, scene.root + 24, pitch), 0.6)
        for bar in range(0, scene.beats, 4)
        for step, pitch in loop
    )


def _drums(scene: Scene) -> tuple[Hit, ...]:
    hats, claps = scene.chance(0.9), scene.chance(0.65)
    ghost = _loop(scene, 0.25) if scene.chance(0.6) else []
    extra = scene.pick(("rim", "shaker", "tom", "conga", "hat"))
    hits = []
    for beat in range(scene.beats):
        hits.append(Hit(beat, "kick", 1.0))
        if hats:
            hits.append(Hit(beat + 0.5, "open", 0.5))
            hits.extend(Hit(beat + quarter / 4, "hat", scene.between(0.15, 0.4)) for quarter in range(4))
        if claps and beat % 2:
            hits.append(Hit(beat, "clap", 0.6))
        hits.extend(Hit(beat + (step % 4) / 4, extra, 0.35) for step in ghost if step // 4 == beat % 4)
    return tuple(hits)


STYLE = Style("techno", (112, 148), 0.8, compose)
