"""From spectrograms back to audio."""

from sottovoce.features.spec import FeatureSpec
from sottovoce.vocoder.base import Vocoder
from sottovoce.vocoder.griffin_lim import GriffinLim
from sottovoce.vocoder.neural import NeuralVocoder, suits

__all__ = ["GriffinLim", "NeuralVocoder", "Vocoder", "vocoder_of"]


def vocoder_of(spec: FeatureSpec) -> Vocoder:
    """The better one of those that know such spectrograms."""
    return NeuralVocoder(spec) if suits(spec) else GriffinLim(spec)
