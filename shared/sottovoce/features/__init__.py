"""Features: from audio to numbers, by one declared spec with two views."""
