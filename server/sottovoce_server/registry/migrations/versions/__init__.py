"""The steps, one module each, in the order that their revisions name."""
