"""Spectrograms of a file at its own rate that a model takes for those of its feature spec, and the way back."""

import warnings
from functools import lru_cache

import torch
from torch import Tensor

from sottovoce.features.normalisation import CLIP, SpectrogramNormalisation
from sottovoce.features.spec import FeatureSpec
from sottovoce.features.spectra import stft, window
from sottovoce.features.spectrogram import FLOOR

QUIETEST_RMS = 1e-4
"""What is quieter than this is not made louder for the model's sake."""


class Analysis:
    """Windows last as long as the spec's at any rate, so that bins are as wide, and the spec's bands lie on them.

    Nothing is resampled: what the bands do not cover is still there on the way back.

    Args:
        spec: of the model.
        constants: that it is normalised by.
        sample_rate: Hz, of the file.
    """

    def __init__(self, spec: FeatureSpec, constants: SpectrogramNormalisation, sample_rate: int) -> None:
        ratio = sample_rate / spec.sample_rate
        self.length = max(16, 2 * round(spec.n_fft * ratio / 2))
        self.hop = max(4, round(spec.hop_length * ratio))
        self.rate = sample_rate
        self._constants, self._loudness = constants, spec.loudness
        self._bank = _bank(spec, sample_rate, self.length)
        self._spread = _spread(self._bank)
        self.covered = self._bank.sum(dim=0) > 0
        """Which bins lie in a band, bool, `[bins]`."""

    def frames(self, samples: int) -> int:
        """How many frames `spectrum` gives of so many samples."""
        return 1 + max(samples, self.length) // self.hop

    def spectrum(self, audio: Tensor) -> Tensor:
        """Complex, `[channels, bins, frames]`, of audio `[channels, samples]`; what is short goes on with silence."""
        missing = max(0, self.length - audio.shape[1])
        return stft(torch.nn.functional.pad(audio, (0, missing)), self.length, self.hop)

    def audio(self, spectrum: Tensor, samples: int) -> Tensor:
        """The way back, `[channels, samples]`."""
        found = torch.istft(
            spectrum, self.length, self.hop, window=window(self.length), length=max(samples, self.length)
        )
        return found[:, :samples]

    def bands(self, magnitudes: Tensor) -> Tensor:
        """Levels in dB, `[channels, bands, frames]`, of magnitudes `[channels, bins, frames]`."""
        return 20 * torch.log10(self._bank @ magnitudes + FLOOR)

    def normalised(self, levels: Tensor) -> Tensor:
        """Levels in dB as the model takes them."""
        return self._constants.spectrogram(levels)

    def decibels(self, values: Tensor) -> Tensor:
        """What the model says, in dB."""
        return self._constants.decibels(values.clamp(-CLIP, CLIP))

    def bins(self, gains: Tensor) -> Tensor:
        """Gains of bands `[channels, bands, frames]` as gains of bins, `[channels, bins, frames]`.

        Beyond the highest band goes its gain, and below the lowest one the lowest's.
        """
        return self._spread @ gains

    def loudness(self, mean_square: float) -> float:
        """The factor that brings audio of this power to the spec's loudness."""
        rms = max(mean_square**0.5, QUIETEST_RMS)
        return 10 ** (self._loudness / 20) / rms


@lru_cache(maxsize=8)
def _bank(spec: FeatureSpec, sample_rate: int, length: int) -> Tensor:
    from torchaudio.functional import melscale_fbanks

    bins = length // 2 + 1
    with warnings.catch_warnings():
        # At low rates the highest bands lie above all bins, and hold nothing.
        warnings.filterwarnings("ignore", message="At least one mel filterbank has all zero values")
        bank: Tensor = melscale_fbanks(bins, spec.f_min, spec.f_max, spec.n_mels, sample_rate, mel_scale="slaney")
    return bank.T.contiguous()


def _spread(bank: Tensor) -> Tensor:
    """`[bins, bands]`, rows of sum 1: the bands that a bin lies in, or else the nearest one that has bins."""
    sums = bank.sum(dim=0)
    inside = (sums > 0).nonzero()[:, 0]
    places = torch.arange(len(sums)).clamp(int(inside[0]), int(inside[-1]))
    found = bank.T[places]
    return found / found.sum(dim=1, keepdim=True).clamp(min=1e-9)
