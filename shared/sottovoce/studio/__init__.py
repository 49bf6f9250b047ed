"""Generation, editing, vocoding and provenance of audio."""
