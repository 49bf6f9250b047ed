"""The coordinator's interface to Flower: the only modules of the server that import it."""
