"""Musical scores as real music: a corpus, and rendering with a sound font."""
