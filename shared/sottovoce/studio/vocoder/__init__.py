"""Vocoders: from spectrograms to audio."""

from sottovoce.features.spec import FeatureSpec
from sottovoce.studio.vocoder.griffin_lim import GriffinLim
from sottovoce.studio.vocoder.interface import Vocoder
from sottovoce.studio.vocoder.neural import NeuralVocoder, suits

__all__ = ["GriffinLim", "NeuralVocoder", "Vocoder", "vocoder_of"]


def vocoder_of(spec: FeatureSpec) -> Vocoder:
    """The best vocoder that supports spectrograms of this spec."""
    return NeuralVocoder(spec) if suits(spec) else GriffinLim(spec)
