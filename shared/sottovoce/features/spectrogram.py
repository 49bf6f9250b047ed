"""The spectrogram view: fine enough to be inverted to audio, unlike the log-mel view for recognition."""

from functools import lru_cache

import torch
from torch import Tensor

from sottovoce.features.spec import FIRST_OF_SPECTROGRAMS, FeatureSpec
from sottovoce.features.spectra import stft, window

VERSION = FIRST_OF_SPECTROGRAMS + 1
"""Version of this code, as in `FeatureSpec.version`; raised whenever the same audio would give other numbers."""

FLOOR = 1e-4
"""Magnitude that counts as silence (-80 dB below a full-scale sine)."""

BANDS, WINDOW, HOP = 256, 2048, 512
"""Mel bands, window and hop (samples). With 32 iterations of fast Griffin-Lim, 229 bands of power invert worse."""


def decibels(segments: Tensor, spec: FeatureSpec) -> Tensor:
    """Mel magnitudes of segments `[segments, samples]` in dB, `[segments, n_mels, frames]`."""
    magnitudes = stft(segments, spec.n_fft, spec.hop_length).abs()
    return 20 * torch.log10(mel_bank(spec) @ magnitudes + FLOOR)


def magnitudes(levels: Tensor) -> Tensor:
    """Mel magnitudes from levels in dB, the inverse of `decibels`; silence at the floor becomes 0."""
    return (10 ** (levels / 20) - FLOOR).clamp(min=0)


@lru_cache(maxsize=8)
def mel_bank(spec: FeatureSpec) -> Tensor:
    """Triangular filters of unit peak on Slaney's mel scale, `[n_mels, bins]`.

    Below 1 kHz, where partials are closest, that scale is linear, and a band is about as wide as a bin.
    """
    from torchaudio.functional import melscale_fbanks

    bins = spec.n_fft // 2 + 1
    bank = melscale_fbanks(bins, spec.f_min, spec.f_max, spec.n_mels, spec.sample_rate, mel_scale="slaney")
    return bank.T.contiguous()


__all__ = ["BANDS", "FLOOR", "HOP", "VERSION", "WINDOW", "decibels", "magnitudes", "mel_bank", "stft", "window"]
