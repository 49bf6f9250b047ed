"""Simulations on one machine: partitions, experiments, sweeps, and the engine that runs them."""
