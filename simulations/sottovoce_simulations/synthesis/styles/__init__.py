"""The styles that there are: a new one is one more file here, and one more line."""

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
