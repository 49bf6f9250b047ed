"""Gamelan: struck metal in pelog or slendro, a core melody, interlocking figures above and gongs below."""

from sottovoce_simulations.synthesis.scene import Scene, Style
from sottovoce_simulations.synthesis.score import Hit, Note, Part, Score
from sottovoce_simulations.synthesis.theory import degree, walk


def compose(scene: Scene) -> Score:
    """A cycle of 8 or 16 beats, with a density for each instrument."""
    scale = scene.scale("pelog", "slendro", "pelog")
    if len(scale) == 7:  # five of pelog's seven tones make a mode
        scale = tuple(scale[k] for k in scene.pick(((0, 1, 2, 4, 5), (0, 1, 3, 4, 5), (0, 2, 3, 4, 6))))
    tonic = scene.root + scene.between(-0.5, 0.5)  # every gamelan has its own tuning
    cycle = scene.pick((8, 16))
    core = walk(scene.rng, cycle, low=0, high=6)
    density = scene.pick((2, 4, 4))
    balungan, panerus, gongs = [], [], []
    turn = [int(scene.rng.integers(-1, 2)) for _ in range(density)]
    for beat in range(scene.beats):
        step = core[beat % cycle]
        balungan.append(Note(beat, 1.1, degree(scale, tonic + 12, step), scene.between(0.6, 0.85)))
        for k in range(density):
            if scene.chance(0.92):
                pitch = degree(scale, tonic + 24, step + turn[k])
                panerus.append(Note(beat + k / density, 0.6 / density, pitch, scene.between(0.4, 0.7)))
        if beat % cycle == 0:
            gongs.append(Note(beat, 6, tonic - 12, 1.0))
        elif beat % 4 == 2:
            gongs.append(Note(beat, 2, degree(scale, tonic, step), 0.6))
    parts = [
        Part("lead", scene.voice("metallophone", "vibraphone", "bonang"), tuple(balungan), level=-1, pan=-0.2),
        Part("chords", scene.voice("bonang", "metallophone", "marimba"), tuple(panerus), level=-6, pan=0.3),
        Part("bass", scene.voice("gong", "gong", "bell"), tuple(gongs), level=scene.between(-3, 2)),
    ]
    if scene.chance(0.25):
        line = tuple(Note(b, 2, degree(scale, tonic + 24, core[b % cycle]), 0.6) for b in range(0, scene.beats, 2))
        parts.append(Part("colour", scene.voice("flute", "fiddle", "choir"), line, level=-6))
    return Score(scene.tempo, tuple(parts), _drums(scene) if scene.chance(0.5) else (), drums=scene.between(-12, -6))


def _drums(scene: Scene) -> tuple[Hit, ...]:
    figure = [k / 4 for k in range(16) if scene.chance(0.35)]
    drum = scene.pick(("conga", "tom", "conga"))
    return tuple(Hit(bar + at, drum, scene.between(0.4, 0.8)) for bar in range(0, scene.beats, 4) for at in figure)


STYLE = Style("gamelan", (52, 120), 1.3, compose)
