"""Ambient: drones and slow chords that swell and fade, a few distant notes, hardly any pulse."""

from sottovoce_simulations.synthesis.scene import Scene, Style
from sottovoce_simulations.synthesis.score import Hit, Note, Part, Score
from sottovoce_simulations.synthesis.theory import degree, triad


def compose(scene: Scene) -> Score:
    """One to three chords for the whole track."""
    scale = scene.scale("lydian", "dorian", "minor", "major")
    hold = scene.pick((4, 6, 8))
    steps = [scene.pick((0, 1, 3, 4, 5)) for _ in range(3)]
    chords = []
    for start in range(0, scene.beats, hold):
        chord = triad(scale, scene.root, steps[start // hold % 3], scene.pick((3, 4, 5)))
        chords += [Note(start + scene.between(0, 1), hold, pitch + scene.pick((0, 0, 12)), 0.6) for pitch in chord]
    drone = tuple(
        Note(start, 7.8, scene.root + shift, 0.7) for start in range(0, scene.beats, 8) for shift in (-12, -5)
    )
    parts = [
        Part("chords", scene.voice("pad", "glass", "strings", "choir", "organ"), tuple(chords), level=-2),
        Part("bass", scene.voice("pad", "sub", "glass", "tuba"), drone, level=scene.between(-8, -1)),
    ]
    if scene.chance(0.65):
        voice = scene.voice("bell", "vibraphone", "piano", "harp", "flute", "metallophone")
        rate = scene.between(0.2, 0.7)
        distant = tuple(
            Note(
                beat + scene.between(0, 0.7),
                2.0,
                degree(scale, scene.root + 24, scene.pick((0, 2, 4, 6, 7, 9))),
                scene.between(0.3, 0.8),
            )
            for beat in range(scene.beats)
            if scene.chance(rate)
        )
        parts.append(Part("lead", voice, distant, level=scene.between(-8, -2), pan=scene.between(-0.6, 0.6)))
    hits: tuple[Hit, ...] = ()
    if scene.chance(0.3):  # a slow pulse
        drum = scene.pick(("kick", "thud", "shaker", "brush"))
        hits = tuple(Hit(beat, drum, 0.5) for beat in range(0, scene.beats, 2))
    return Score(scene.tempo, tuple(parts), hits, drums=-9)


STYLE = Style("ambient", (40, 90), 3.0, compose)
