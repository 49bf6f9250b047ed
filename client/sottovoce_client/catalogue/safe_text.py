"""Text from files we did not write, made safe to keep and to compare."""

import unicodedata

MOST_CHARACTERS = 500  # a title; a tag can hold megabytes


def plain(text: str) -> str:
    """One line in one spelling (NFC): no control characters, white space runs as one space, no endless length."""
    spaced = " ".join(unicodedata.normalize("NFC", text).split())
    return "".join(c for c in spaced if unicodedata.category(c) not in ("Cc", "Cs"))[:MOST_CHARACTERS]


def identity(text: str) -> str:
    """What two spellings of one name share: compatibility form, case and white space are not told apart."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
