"""The privacy budget of a label's tracks: what is spent, and what remains."""
