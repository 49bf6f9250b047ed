"""What was done to private data, as values; what it costs; and how much noise a promise takes."""
