"""Differential privacy: events, their cost (ε, δ), and the noise that a guarantee needs."""
