"""From a catalogue's files to cached arrays for training."""
