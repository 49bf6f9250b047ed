"""From spectrograms back to audio."""

from sottovoce.vocoder.base import Vocoder
from sottovoce.vocoder.griffin_lim import GriffinLim
from sottovoce.vocoder.neural import NeuralVocoder

__all__ = ["GriffinLim", "NeuralVocoder", "Vocoder"]
