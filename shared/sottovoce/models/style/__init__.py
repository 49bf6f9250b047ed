"""Style recognition: classify a track as one of the agreed styles."""
