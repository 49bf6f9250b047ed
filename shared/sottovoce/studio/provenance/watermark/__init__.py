"""A spread-spectrum watermark without trained weights: 48 bits of a release's digest, in the audio itself.

The level of each of 72 bands between 0.3 and 7 kHz goes up or down a little every tenth of a second, as a public
key's pseudo-random signs say. It is read without the original (decision 0030).
"""
