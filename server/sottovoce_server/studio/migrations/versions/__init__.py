"""Migrations, one per module, ordered by their revisions."""
