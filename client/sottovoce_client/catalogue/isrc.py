"""International Standard Recording Codes (ISO 3901): country, registrant, year, designation."""

import re

_ISRC = re.compile(r"[A-Z]{2}[A-Z0-9]{3}[0-9]{7}")


def parse(text: str) -> str | None:
    """The code in its bare form (`QZABC2400001`), or None if the text is not an ISRC.

    Hyphens, white space and the prefix `ISRC` are removed, and letters become upper case.
    """
    bare = re.sub(r"[\s\-\u2010-\u2013]", "", text).upper().removeprefix("ISRC").removeprefix(":")
    return bare if _ISRC.fullmatch(bare) else None
