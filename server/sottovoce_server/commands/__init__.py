"""The commands of `sottovoce server` and `sottovoce registry`."""
