"""What the README quotes, measured: `python -m benchmarks` runs all of it."""
