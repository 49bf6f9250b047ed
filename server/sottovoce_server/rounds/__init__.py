"""The coordinator in a run: submission, decoding of sums, history and checkpoints."""
