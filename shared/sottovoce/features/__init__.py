"""Audio to numbers: one declared spec, two views."""
