"""A training run: its configuration, defaults, figures, and records on the wire."""
