"""The instruments that styles choose from, by name."""

from types import MappingProxyType

from sottovoce_simulations.synthesis.voices import Voice

_AH = ((700.0, 0.35, 10.0), (1150.0, 0.3, 6.0), (2800.0, 0.3, 4.0))
_BRASSY = ((500.0, 0.6, 5.0), (1500.0, 0.5, 6.0))
_BODY = ((280.0, 0.4, 4.0), (900.0, 0.6, 3.0), (2600.0, 0.5, 4.0))
_KEYS = ((1.0, 1.0, 1.4), (2.76, 0.45, 0.7), (5.4, 0.25, 0.35), (8.93, 0.1, 0.15))

PALETTE = MappingProxyType(
    {
        "organ": Voice(slope=-5, attack=0.03, sustain=1.0, release=0.12, detune=4),
        "choir": Voice(
            slope=-8, attack=0.12, sustain=0.95, release=0.25, formants=_AH, vibrato=14, detune=12, breath=0.02
        ),
        "strings": Voice(slope=-6, attack=0.1, sustain=0.9, release=0.2, formants=_BODY, vibrato=12, detune=9),
        "fiddle": Voice(slope=-5, attack=0.04, sustain=0.9, release=0.08, formants=_BODY, vibrato=18, breath=0.01),
        "brass": Voice(slope=-5, attack=0.04, decay=0.15, sustain=0.8, release=0.07, formants=_BRASSY, vibrato=5),
        "tuba": Voice(slope=-9, attack=0.04, decay=0.2, sustain=0.75, release=0.08, formants=((220.0, 0.8, 5.0),)),
        "flute": Voice(slope=-13, attack=0.05, sustain=0.95, release=0.08, vibrato=14, breath=0.06),
        "clarinet": Voice(slope=-7, even=0.12, attack=0.03, sustain=0.95, release=0.07, breath=0.015),
        "saxophone": Voice(
            slope=-5, attack=0.03, sustain=0.85, release=0.07, formants=_BRASSY, vibrato=16, breath=0.04
        ),
        "accordion": Voice(slope=-5, attack=0.03, sustain=1.0, release=0.06, detune=18, formants=((1200.0, 0.8, 4.0),)),
        "harmonica": Voice(
            slope=-4, attack=0.03, sustain=0.95, release=0.06, vibrato=22, formants=((1800.0, 0.6, 6.0),)
        ),
        "nylon": Voice(slope=-7, attack=0.003, decay=0.5, sustain=0.0, release=0.08, dulling=0.15, formants=_BODY),
        "steel": Voice(slope=-5, attack=0.003, decay=0.8, sustain=0.0, release=0.1, dulling=0.3, formants=_BODY),
        "electric": Voice(slope=-4.5, attack=0.004, decay=0.9, sustain=0.25, release=0.1, dulling=0.8, vibrato=4),
        "piano": Voice(slope=-7, attack=0.003, decay=0.9, sustain=0.0, release=0.12, dulling=0.35, detune=2),
        "harp": Voice(slope=-9, attack=0.003, decay=0.9, sustain=0.0, release=0.5, dulling=0.2),
        "rhodes": Voice(slope=-11, attack=0.004, decay=0.9, sustain=0.1, release=0.15, dulling=0.25, vibrato=3),
        "upright": Voice(slope=-9, attack=0.008, decay=0.45, sustain=0.1, release=0.07, dulling=0.12),
        "fingered": Voice(slope=-8, attack=0.005, decay=0.6, sustain=0.3, release=0.06, dulling=0.25),
        "square": Voice(slope=-6, even=0.02, attack=0.002, decay=0.2, sustain=0.7, release=0.02),
        "pulse": Voice(slope=-4, even=0.7, attack=0.002, decay=0.15, sustain=0.5, release=0.02),
        "triangle": Voice(slope=-12, even=0.02, attack=0.002, sustain=1.0, release=0.02),
        "saw": Voice(slope=-6, attack=0.005, decay=0.2, sustain=0.6, release=0.06, detune=14),
        "acid": Voice(slope=-5, attack=0.003, decay=0.15, sustain=0.3, release=0.03, dulling=0.09),
        "sub": Voice(slope=-16, attack=0.006, decay=0.25, sustain=0.6, release=0.04),
        "pad": Voice(slope=-9, attack=0.8, sustain=1.0, release=0.8, detune=16, vibrato=4),
        "glass": Voice(slope=-12, even=0.3, attack=0.5, sustain=1.0, release=0.9, detune=9, breath=0.02),
        "vibraphone": Voice(release=0.4, partials=((1.0, 1.0, 1.8), (3.98, 0.3, 0.5), (9.9, 0.1, 0.2))),
        "marimba": Voice(release=0.1, partials=((1.0, 1.0, 0.35), (3.93, 0.35, 0.12), (9.2, 0.1, 0.05))),
        "metallophone": Voice(release=0.25, partials=_KEYS),
        "bonang": Voice(release=0.15, partials=((1.0, 1.0, 0.7), (1.52, 0.5, 0.4), (3.46, 0.3, 0.2), (4.92, 0.2, 0.1))),
        "gong": Voice(
            release=2.0,
            partials=((1.0, 1.0, 3.5), (1.014, 0.8, 3.5), (1.51, 0.4, 2.0), (2.09, 0.3, 1.2), (2.71, 0.2, 0.8)),
        ),
        "bell": Voice(
            release=1.0,
            partials=((0.5, 0.4, 2.5), (1.0, 1.0, 2.0), (1.19, 0.5, 1.4), (2.0, 0.4, 1.0), (2.74, 0.25, 0.6)),
        ),
    }
)
