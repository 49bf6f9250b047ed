"""Audio files: decoding, detection of truncation, and tags read in bounded memory."""
