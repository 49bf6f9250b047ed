"""Migrations of the database; `database` applies missing ones."""
