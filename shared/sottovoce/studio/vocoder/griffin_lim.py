"""The fast Griffin-Lim algorithm (Perraudin et al., WASPAA 2013), after inversion of the mel bands."""

import torch
from torch import Tensor

from sottovoce.features import spectrogram
from sottovoce.features.spec import FeatureSpec

ITERATIONS, MOMENTUM = 32, 0.99
INVERSIONS = 60
_TINY = 1e-10


class GriffinLim:
    """A vocoder without training: magnitudes by non-negative least squares, phases by iteration.

    Args:
        spec: the spectrograms' feature spec.
        iterations: iterations between spectrogram and audio.
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
    """Inversion of mel magnitudes to linear magnitudes.

    Args:
        spec: the feature spec of the bands.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        bank = spectrogram.mel_bank(spec)
        # A bin lies in at most two bands, so most of the filter bank is 0.
        self._bank, self._transposed = bank.to_sparse(), bank.T.contiguous().to_sparse()
        self._widths = self._transposed @ (self._bank @ torch.ones(bank.shape[1], 1))

    def spread(self, mel: Tensor) -> Tensor:
        """Linear magnitudes `[bins, frames]`, each the mean of the bands that contain the bin; 0 outside all bands."""
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
        """Linear magnitudes adjusted bin by bin, so that their bands approach `mel`.

        As in `magnitudes`, but values below `FLOOR` in both are left unchanged.
        """
        wanted = self._transposed @ (mel + spectrogram.FLOOR)
        for _ in range(updates):
            there = self._transposed @ (self._bank @ magnitudes + spectrogram.FLOOR)
            magnitudes = magnitudes * (wanted / there.clamp(min=_TINY))
        return magnitudes


def lengthened(levels: Tensor, spec: FeatureSpec) -> Tensor:
    """Levels `[n_mels, frames]`, extended by repeating the last frame if there are too few for centred windows.

    Audio shorter than half a window cannot be padded by reflection.
    """
    missing = max(0, spec.n_fft // (2 * spec.hop_length) + 2 - levels.shape[1])
    return torch.cat([levels, levels[:, -1:].expand(-1, missing)], dim=1)


def random_phases(magnitudes: Tensor, generator: torch.Generator) -> Tensor:
    """Random phases of the same shape: complex numbers of magnitude 1."""
    angles = 2 * torch.pi * torch.rand(magnitudes.shape, generator=generator)
    return torch.polar(torch.ones_like(magnitudes), angles)


def audible(magnitudes: Tensor, phases: Tensor, iterations: int, spec: FeatureSpec) -> Tensor:
    """Audio `[(frames - 1) · hop_length]` whose spectrum has approximately these magnitudes.

    Args:
        magnitudes: linear, `[bins, frames]`.
        phases: initial phases, complex numbers of magnitude 1. (torchaudio's function supports only random ones.)
        iterations: number of Griffin-Lim iterations; 0 keeps the initial phases.
        spec: defines window and hop.
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
