"""Many labels on one machine: synthetic catalogues, partitions, experiments, attacks."""
