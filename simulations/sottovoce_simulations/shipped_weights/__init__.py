"""Learns the weights and constants that the project ships, from public audio only."""
