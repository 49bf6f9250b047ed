"""International Standard Recording Codes (ISO 3901): country, registrant, year, designation."""

import re

_ISRC = re.compile(r"[A-Z]{2}[A-Z0-9]{3}[0-9]{7}")


def parse(text: str) -> str | None:
    """The code in its bare form (`QZABC2400001`), or None where the text is no ISRC.

    Hyphens, white space, lower case and the prefix `ISRC` are how people write one, and are taken off.
    """
    bare = re.sub(r"[\s\-\u2010-\u2013]", "", text).upper().removeprefix("ISRC").removeprefix(":")
    return bare if _ISRC.fullmatch(bare) else None
