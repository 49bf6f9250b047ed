"""The measurements of docs/benchmarks.md: `python -m benchmarks` runs all of them."""
