"""Training of the weights and constants in the package, on public audio only."""
