"""Private training at a label: sampling, per-unit gradients, noise, evaluation."""
