"""Backups of a label's home, and restoring them without losing count of what was spent."""
