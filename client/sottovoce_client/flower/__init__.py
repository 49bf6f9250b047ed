"""The label's interface to Flower: the only modules of the client that import it."""
