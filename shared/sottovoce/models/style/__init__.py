"""Style recognition: which of the agreed styles a track is in."""
