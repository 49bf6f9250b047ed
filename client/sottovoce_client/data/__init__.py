"""From a catalogue's files to the arrays that a model trains on, cached."""
