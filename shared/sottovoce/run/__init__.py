"""One training run: its configuration, how defaults become one, its figures, and its records on the wire."""
