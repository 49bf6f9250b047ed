"""Spectrograms of a file at its own sample rate, in the form that a model expects, and their inversion."""

import warnings
from functools import lru_cache

import torch
from torch import Tensor

from sottovoce.features.normalisation import CLIP, SpectrogramNormalisation
from sottovoce.features.spec import FeatureSpec
from sottovoce.features.spectra import stft, window
from sottovoce.features.spectrogram import FLOOR

QUIETEST_RMS = 1e-4
"""RMS level below which audio is not amplified for the model."""


class Analysis:
    """Analysis with windows of the spec's duration at any rate, so that bins are as wide and the spec's bands fit them.

    Nothing is resampled, so content outside the bands is preserved.

    Args:
        spec: the model's feature spec.
        constants: the model's normalisation constants.
        sample_rate: the file's sample rate, Hz.
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
        """Mask of the bins that lie in a band, bool, `[bins]`."""

    def frames(self, samples: int) -> int:
        """Number of frames that `spectrum` returns for this number of samples."""
        return 1 + max(samples, self.length) // self.hop

    def spectrum(self, audio: Tensor) -> Tensor:
        """Complex spectrum `[channels, bins, frames]` of audio `[channels, samples]`; short audio is zero-padded."""
        missing = max(0, self.length - audio.shape[1])
        return stft(torch.nn.functional.pad(audio, (0, missing)), self.length, self.hop)

    def audio(self, spectrum: Tensor, samples: int) -> Tensor:
        """Inverse of `spectrum`: audio `[channels, samples]`."""
        found = torch.istft(
            spectrum, self.length, self.hop, window=window(self.length), length=max(samples, self.length)
        )
        return found[:, :samples]

    def bands(self, magnitudes: Tensor) -> Tensor:
        """Levels in dB, `[channels, bands, frames]`, of magnitudes `[channels, bins, frames]`."""
        return 20 * torch.log10(self._bank @ magnitudes + FLOOR)

    def normalised(self, levels: Tensor) -> Tensor:
        """Levels in dB, normalised for the model."""
        return self._constants.spectrogram(levels)

    def decibels(self, values: Tensor) -> Tensor:
        """Normalised model output in dB."""
        return self._constants.decibels(values.clamp(-CLIP, CLIP))

    def bins(self, gains: Tensor) -> Tensor:
        """Gains of bins, `[channels, bins, frames]`, from gains of bands `[channels, bands, frames]`.

        Bins above the highest band get its gain, bins below the lowest band the lowest's.
        """
        return self._spread @ gains

    def loudness(self, mean_square: float) -> float:
        """Factor that scales audio of this power to the spec's loudness."""
        rms = max(mean_square**0.5, QUIETEST_RMS)
        return 10 ** (self._loudness / 20) / rms


@lru_cache(maxsize=8)
def _bank(spec: FeatureSpec, sample_rate: int, length: int) -> Tensor:
    from torchaudio.functional import melscale_fbanks

    bins = length // 2 + 1
    with warnings.catch_warnings():
        # At low rates the highest bands lie above all bins, and are empty.
        warnings.filterwarnings("ignore", message="At least one mel filterbank has all zero values")
        bank: Tensor = melscale_fbanks(bins, spec.f_min, spec.f_max, spec.n_mels, sample_rate, mel_scale="slaney")
    return bank.T.contiguous()


def _spread(bank: Tensor) -> Tensor:
    """`[bins, bands]`, rows of sum 1: the bands that contain a bin, or the nearest band with bins."""
    sums = bank.sum(dim=0)
    inside = (sums > 0).nonzero()[:, 0]
    places = torch.arange(len(sums)).clamp(int(inside[0]), int(inside[-1]))
    found = bank.T[places]
    return found / found.sum(dim=1, keepdim=True).clamp(min=1e-9)
