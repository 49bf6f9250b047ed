"""What runs at the coordinator: rounds, masked sums, the server optimiser, publishing."""
