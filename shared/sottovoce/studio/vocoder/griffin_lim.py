"""Phases by the fast Griffin-Lim algorithm (Perraudin et al., WASPAA 2013), after the mel bands are undone."""

import torch
from torch import Tensor

from sottovoce.features import spectrogram
from sottovoce.features.spec import FeatureSpec

ITERATIONS, MOMENTUM = 32, 0.99
INVERSIONS = 60
_TINY = 1e-10


class GriffinLim:
    """Needs no training: magnitudes by non-negative least squares, phases by iteration.

    Args:
        spec: what the spectrograms were computed by.
        iterations: between spectrogram and audio, and back.
    """

    def __init__(self, spec: FeatureSpec, iterations: int = ITERATIONS) -> None:
        self.hop_length = spec.hop_length
        self._spec, self._iterations = spec, iterations
        self._inversion = Inversion(spec)

    def audio(self, levels: Tensor, generator: torch.Generator) -> Tensor:
        """See `Vocoder`."""
        samples = (levels.shape[1] - 1) * self.hop_length
        magnitudes = self._inversion.magnitudes(spectrogram.magnitudes(lengthened(levels, self._spec)))
        return audible(magnitudes, random_phases(magnitudes, generator), self._iterations, self._spec)[:samples]


class Inversion:
    """Linear magnitudes of mel magnitudes.

    Args:
        spec: what the bands were computed by.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        bank = spectrogram.mel_bank(spec)
        # A bin lies in two bands at most, so that most of the bank is 0.
        self._bank, self._transposed = bank.to_sparse(), bank.T.contiguous().to_sparse()
        self._widths = self._transposed @ (self._bank @ torch.ones(bank.shape[1], 1))

    def spread(self, mel: Tensor) -> Tensor:
        """Linear magnitudes `[bins, frames]`, each a mean of the bands that a bin lies in; 0 outside all of them."""
        return (self._transposed @ mel) / self._widths.clamp(min=_TINY)

    def magnitudes(self, mel: Tensor) -> Tensor:
        """Linear magnitudes `[bins, frames]` whose mel bands are closest to `mel`, `[n_mels, frames]`.

        Non-negative least squares by multiplicative updates (Lee & Seung, NIPS 2000); bins outside all bands stay 0.
        """
        wanted, found = self._transposed @ mel, self.spread(mel)
        for _ in range(INVERSIONS):
            there = self._transposed @ (self._bank @ found)
            found.mul_(wanted).div_(there.clamp_(min=_TINY))
        return found

    def fitted(self, magnitudes: Tensor, mel: Tensor, updates: int) -> Tensor:
        """Linear magnitudes with each bin louder or softer, so that their bands come nearer to `mel`.

        As in `magnitudes`, but for what is below `FLOOR` in both: that stays as it is.
        """
        wanted = self._transposed @ (mel + spectrogram.FLOOR)
        for _ in range(updates):
            there = self._transposed @ (self._bank @ magnitudes + spectrogram.FLOOR)
            magnitudes = magnitudes * (wanted / there.clamp(min=_TINY))
        return magnitudes


def lengthened(levels: Tensor, spec: FeatureSpec) -> Tensor:
    """Levels `[n_mels, frames]`, with the last frame again where they are fewer than centred windows need.

    Less than half a window cannot be reflected at its ends.
    """
    missing = max(0, spec.n_fft // (2 * spec.hop_length) + 2 - levels.shape[1])
    return torch.cat([levels, levels[:, -1:].expand(-1, missing)], dim=1)


def random_phases(magnitudes: Tensor, generator: torch.Generator) -> Tensor:
    """Of the same shape, complex, of length 1."""
    angles = 2 * torch.pi * torch.rand(magnitudes.shape, generator=generator)
    return torch.polar(torch.ones_like(magnitudes), angles)


def audible(magnitudes: Tensor, phases: Tensor, iterations: int, spec: FeatureSpec) -> Tensor:
    """Audio `[(frames - 1) · hop_length]` whose spectrum has about these magnitudes.

    Args:
        magnitudes: linear, `[bins, frames]`.
        phases: to begin with, complex numbers of length 1. (torchaudio's function begins with random ones only.)
        iterations: how often they are made to fit with one another; 0 leaves them.
        spec: of window and hop.
    """
    window, length = spectrogram.window(spec.n_fft), (magnitudes.shape[1] - 1) * spec.hop_length

    def sounding() -> Tensor:
        return torch.istft(magnitudes * phases, spec.n_fft, spec.hop_length, window=window, length=length)

    before = torch.zeros_like(phases)
    for _ in range(iterations):
        fitting = spectrogram.stft(sounding()[None], spec.n_fft, spec.hop_length)[0]
        phases = torch.sgn(fitting - MOMENTUM / (1 + MOMENTUM) * before)
        before = fitting
    return sounding()
