"""All styles; a new one needs a module here and a line below."""

from types import MappingProxyType

from sottovoce_simulations.synthesis.scene import Style
from sottovoce_simulations.synthesis.styles import (
    ambient,
    blues,
    bossa,
    chiptune,
    chorale,
    gamelan,
    march,
    techno,
    waltz,
)

_ALL = (ambient, blues, bossa, chiptune, chorale, gamelan, march, techno, waltz)
STYLES: MappingProxyType[str, Style] = MappingProxyType({module.STYLE.name: module.STYLE for module in _ALL})
