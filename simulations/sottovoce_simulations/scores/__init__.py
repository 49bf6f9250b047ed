"""Musical scores as real music: which there are, and their rendering by a sound font."""
