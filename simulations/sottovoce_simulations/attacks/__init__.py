"""Privacy attacks on releases and on our own mechanisms."""
