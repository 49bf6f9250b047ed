"""The label's edge to Flower: the only modules here that import it."""
