"""Cleans text from untrusted files, to store and compare it safely."""

import unicodedata

MOST_CHARACTERS = 500  # enough for a title; a tag can hold megabytes


def plain(text: str) -> str:
    """Normalise text to one line: NFC, no control characters, single spaces, limited length."""
    spaced = " ".join(unicodedata.normalize("NFC", text).split())
    return "".join(c for c in spaced if unicodedata.category(c) not in ("Cc", "Cs"))[:MOST_CHARACTERS]


def identity(text: str) -> str:
    """A key that is equal for all spellings of a name: it ignores compatibility forms, case and white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
