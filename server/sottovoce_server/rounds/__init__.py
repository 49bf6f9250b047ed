"""The coordinator in a run: submission, decoded sums, history and checkpoints."""
