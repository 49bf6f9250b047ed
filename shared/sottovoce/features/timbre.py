"""Descriptors of timbre, independent of the notes played."""

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from sottovoce.features.descriptors import Descriptors, level_and_spread, logarithm, spread
from sottovoce.features.spectra import FLOOR, Spectra

COEFFICIENTS = 13
ROLL_OFF = 0.85
OCTAVES_FROM = 200.0
CONTRAST_BANDS = 6
CONTRAST_SHARE = 0.1


def timbre(spectra: Spectra) -> Descriptors:
    """Mel bands, MFCC, spectral shape, contrast, zero crossings and level."""
    return {**_bands(spectra), **_cepstrum(spectra), **_shape(spectra), **_contrast(spectra), **_level(spectra)}


def _bands(spectra: Spectra) -> Descriptors:
    bands = spectra.coarse
    change = bands.diff(dim=2).abs().mean(dim=2)
    return {"mel.mean": bands.mean(dim=2), "mel.std": spread(bands), "mel.flux": logarithm(change, 0.1)}


@lru_cache(maxsize=1)
def _cosines(bands: int) -> Tensor:
    """Orthonormal DCT-II without the constant component: `[COEFFICIENTS, bands]`."""
    order = torch.arange(1, COEFFICIENTS + 1)[:, None]
    return math.sqrt(2 / bands) * torch.cos(math.pi / bands * (torch.arange(bands) + 0.5) * order)


def _cepstrum(spectra: Spectra) -> Descriptors:
    cepstrum = _cosines(spectra.coarse.shape[1]) @ spectra.coarse
    return {
        "mfcc.mean": cepstrum.mean(dim=2),
        "mfcc.std": logarithm(spread(cepstrum), 0.1),
        "mfcc.delta": logarithm(spread(cepstrum.diff(dim=2)), 0.1),
    }


def _shape(spectra: Spectra) -> Descriptors:
    power = spectra.power[:, 1:]
    bins = power.shape[1]
    hertz = torch.arange(1, bins + 1) * (spectra.spec.sample_rate / spectra.spec.n_fft)
    amplitude = (power + FLOOR * 1e-4).sqrt()  # a higher floor would bias the centroid of a pure tone
    total = amplitude.sum(dim=1)
    centroid = (hertz @ amplitude) / total
    spread_hertz = ((hertz.square() @ amplitude) / total - centroid.square()).clamp(min=1).sqrt()
    energy = amplitude.cumsum(dim=1)
    roll_off = (energy < ROLL_OFF * energy[:, -1:]).sum(dim=1) * (spectra.spec.sample_rate / spectra.spec.n_fft)
    flatness = 0.5 * torch.log(power + FLOOR * 1e-2).mean(dim=1) - torch.log(total / bins)
    return {
        **level_and_spread("centroid", torch.log2(centroid)),
        **level_and_spread("bandwidth", torch.log2(spread_hertz)),
        **level_and_spread("roll-off", torch.log2(roll_off + hertz[0])),
        **level_and_spread("flatness", flatness),
    }


def _contrast(spectra: Spectra) -> Descriptors:
    """Peaks against valleys in each octave band (Jiang et al., ICME 2002), in dB."""
    width = spectra.spec.sample_rate / spectra.spec.n_fft
    octaves = [OCTAVES_FROM * 2**octave for octave in range(CONTRAST_BANDS - 1)]
    # Every second frame is representative. Numpy sorts several times faster than torch.
    decibels = (10 * torch.log10(spectra.power[:, :, ::2] + FLOOR * 1e-2)).transpose(1, 2).numpy()
    contrasts = []
    for low, high in pairwise([0.0, *octaves, spectra.spec.sample_rate / 2]):
        band = decibels[:, :, max(1, round(low / width)) : max(2 + round(low / width), round(high / width))]
        ordered = torch.from_numpy(np.sort(band, axis=2))
        few = max(1, round(CONTRAST_SHARE * band.shape[2]))
        contrasts.append(ordered[:, :, -few:].mean(dim=2) - ordered[:, :, :few].mean(dim=2))
    return level_and_spread("contrast", torch.stack(contrasts, dim=1))


def _level(spectra: Spectra) -> Descriptors:
    hop = spectra.spec.hop_length
    audio = spectra.audio
    signs = (audio >= 0).to(torch.int8)
    crossings = (signs[:, 1:] != signs[:, :-1]).float().unfold(1, hop, hop).mean(dim=2)
    loudness = 10 * torch.log10(audio.unfold(1, hop, hop).square().mean(dim=2) + FLOOR)
    centred = loudness - loudness.mean(dim=1, keepdim=True)
    low, high = torch.quantile(loudness, torch.tensor([0.1, 0.9]), dim=1)
    return {
        **level_and_spread("zero-crossings", torch.log2(crossings + 0.005)),
        **level_and_spread("rms", loudness),
        "rms.range": high - low,
        "rms.skew": (centred.pow(3).mean(dim=1)) / (spread(loudness).pow(3) + 1),
        "rms.flux": logarithm(loudness.diff(dim=1).abs().mean(dim=1), 0.1),
    }
