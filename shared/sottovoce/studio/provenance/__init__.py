"""Where it came from: what marks audio that a release made or changed, and what reads the marks."""
