"""The coordinator's edge to Flower: the only modules here that import it."""
