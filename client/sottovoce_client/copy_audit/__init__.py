"""The copy audit: checks whether a release's output is too close to this label's own music.

    release → samples → excerpts ─┐
    held-out tracks  → excerpts ──┼─ compared, by two tests, with the sketch of every training track
    catalogue → sketches (cached) ┘

The excerpts stay in memory while the catalogue streams past them. Only the verdict (passed or not) may leave the label.
"""

TASKS = ("generator",)
"""Tasks whose releases are audited: those that generate music from a seed. Editors only continue their input."""
