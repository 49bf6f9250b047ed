"""From spectrograms back to audio."""

from sottovoce.vocoder.base import Vocoder
from sottovoce.vocoder.griffin_lim import GriffinLim

__all__ = ["GriffinLim", "Vocoder"]
