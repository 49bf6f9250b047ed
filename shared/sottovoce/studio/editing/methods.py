"""Names of the methods that fill gaps."""

METHODS = ("auto", "lpc", "exemplar", "interpolate", "model")
MODEL_METHOD = METHODS[-1]
FORMER_METHODS = {"similar": "exemplar"}
"""Former names of methods, accepted for one version."""
