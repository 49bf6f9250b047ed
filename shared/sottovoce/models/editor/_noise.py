"""Synthetic noise in the spectrogram domain, so that editors can be trained without audio."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sottovoce.features.normalisation import CLIP, SpectrogramNormalisation, for_spec
from sottovoce.features.spec import FeatureSpec
from sottovoce.features.spectrogram import FLOOR, magnitudes, mel_bank

LEAST_SNR, LARGEST_SNR = -5.0, 25.0
"""Range of signal-to-noise ratios of training examples, dB."""
STEEPEST, FLATTEST = -6.0, 2.0
"""Range of noise colours, dB per octave: from brown noise to slightly brighter than white."""
QUIETEST, LOUDEST = -9.0, 3.0
"""Range of gains applied to an example, dB: parts of a track differ in loudness."""
_RAYLEIGH_MEAN, _RAYLEIGH_DEVIATION = 0.886, 0.463
_LOUDEST_DB, _QUIETEST_DB = 60.0, -120.0
_OVERLAP = (0.45, 0.78, 0.45)
"""Weights of neighbouring frames, which share most of their samples and so of their noise."""


@dataclass(frozen=True)
class Levels:
    """Conversion between normalised values and magnitudes, and the statistics of white noise in each band.

    Args:
        mean: mean of each band, dB, `[bands]`.
        std: deviation of each band, dB, `[bands]`.
        widths: the filters' sums, in bins, `[bands]`.
        energies: the filters' sums of squares, `[bands]`.
        octaves: the bands' frequencies, in octaves above 1 kHz, `[bands]`.
    """

    mean: Tensor
    std: Tensor
    widths: Tensor
    energies: Tensor
    octaves: Tensor

    @classmethod
    def of(cls, spec: FeatureSpec) -> "Levels":
        """The levels for a spec and its normalisation constants."""
        bank, constants = mel_bank(spec), for_spec(spec, None)
        mean, std = torch.zeros(spec.n_mels), torch.ones(spec.n_mels)
        if isinstance(constants, SpectrogramNormalisation):
            mean, std = constants.mean, constants.std
        widths = bank.sum(dim=1).clamp(min=0.1)
        bins = torch.arange(bank.shape[1]) * (spec.sample_rate / spec.n_fft)
        centres = (bank @ bins / widths).clamp(min=spec.f_min, max=spec.f_max)
        return cls(mean, std, widths, bank.square().sum(dim=1), torch.log2(centres.clamp(min=1.0) / 1000))

    def magnitudes(self, values: Tensor) -> Tensor:
        """Mel magnitudes from normalised spectrograms `[batch, bands, frames]`."""
        levels = values * self.std[:, None] + self.mean[:, None]
        return magnitudes(levels.clamp(_QUIETEST_DB, _LOUDEST_DB))

    def values(self, found: Tensor) -> Tensor:
        """Normalised spectrograms from mel magnitudes."""
        levels = 20 * torch.log10(found + FLOOR)
        return ((levels - self.mean[:, None]) / self.std[:, None]).clamp(-CLIP, CLIP)


def with_noise(levels: Levels, clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Each example with noise of random loudness and colour, and without it: normalised, at equal loudness.

    Args:
        levels: normalisation of the spectrograms.
        clean: `[batch, bands, frames]`.
        generator: source of every draw.
    """
    batch, bands, frames = clean.shape
    snr, slope, gain = torch.rand(3, batch, 1, 1, generator=generator)
    snr = LEAST_SNR + (LARGEST_SNR - LEAST_SNR) * snr
    slope = STEEPEST + (FLATTEST - STEEPEST) * slope
    found = levels.magnitudes(clean)
    colour = 10 ** (slope * levels.octaves[:, None] / 20)
    power = (found.square() / levels.widths[:, None]).sum(dim=1, keepdim=True).mean(dim=2, keepdim=True)
    noise_power = (colour.square() * levels.widths[:, None]).sum(dim=1, keepdim=True)
    deviation = colour * (power / noise_power).sqrt() * 10 ** (-snr / 20)
    # The total loudness does not change with the noise: tracks are normalised in loudness including their noise.
    louder = 10 ** ((QUIETEST + (LOUDEST - QUIETEST) * gain) / 20) / (1 + 10 ** (-snr / 10)).sqrt()
    noise = _noise(levels, (batch, bands, frames), generator) * deviation
    phases = torch.cos(2 * torch.pi * torch.rand(batch, bands, frames, generator=generator))
    apart = phases / levels.widths.clamp(min=1.0).sqrt()[:, None]
    mixed = (found.square() + noise.square() + 2 * found * noise * apart).clamp(min=0).sqrt()
    return levels.values(mixed * louder), levels.values(found * louder)


def _noise(levels: Levels, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Mel magnitudes of white noise whose bins have power 1."""
    batch, bands, frames = shape
    drawn = torch.randn(batch * bands, 1, frames + 2, generator=generator)
    drawn = functional.conv1d(drawn, torch.tensor(_OVERLAP).view(1, 1, 3)).view(shape)
    mean = _RAYLEIGH_MEAN * levels.widths
    return (mean[:, None] + _RAYLEIGH_DEVIATION * levels.energies.sqrt()[:, None] * drawn).clamp(min=0)
