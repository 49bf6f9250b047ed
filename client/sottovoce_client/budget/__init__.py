"""What a label's tracks have spent of their privacy, and what remains."""
