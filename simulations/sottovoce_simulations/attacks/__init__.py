"""Attacks on releases and on our own mechanisms."""
