"""A spread-spectrum watermark without trained weights: 48 bits of a release's digest, in the audio itself.

Every tenth of a second, the level of each of 72 bands between 0.3 and 7 kHz is raised or lowered slightly, according to
pseudo-random signs from a public key. Detection does not need the original (decision 0030).
"""
