"""Provenance: marks on audio that a release generated or changed, and their verification."""
