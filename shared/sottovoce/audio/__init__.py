"""Audio files to samples: decoding, truncation, and tags that cost no more memory than the file."""
