"""The copy audit: whether what a release makes is too close to music of this label's own.

    release → samples → excerpts ─┐
    held-out tracks  → excerpts ──┼─ compared, by two tests, with the sketch of every track that was trained on
    catalogue → sketches (cached) ┘

The excerpts are in memory, and the catalogue streams past them. Only whether the audit was passed may leave the label.
"""

TASKS = ("generator",)
"""Tasks whose releases make music of nothing but a seed, and are audited. An editor goes on from what it is given."""
