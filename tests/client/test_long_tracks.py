"""Sketches and average spectra are computed block by block, and are those of the whole track at once."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from sottovoce_client.copy_audit import sketch as sketches
from sottovoce_client.copy_audit.sketch import BANDS, FINE, POOL, SEMITONES, sketch
from sottovoce_client.data import spectral_split
from sottovoce_client.data.spectral_split import spectrum

SECONDS = (0.0, 0.15, 0.2, 1.0, 8.17, 16.4, 30.0)
"""None, less than a window, a little more, a part of a block, one, two, and several."""


@pytest.fixture(scope="module", params=SECONDS)
def audio(request):
    """Quiet noise with tones that come and go, the loudest late."""
    count = round(request.param * sketches.RATE)
    times = torch.arange(count) / sketches.RATE
    tones = sum(torch.sin(2 * torch.pi * 220 * 2 ** (k / 5) * times) * torch.sin(times * (k + 1)) for k in range(9))
    return tones * times / 300 + 0.01 * torch.randn(count, generator=torch.Generator().manual_seed(1))


def magnitudes(audio, hop):
    window = sketches.WINDOW
    return torch.stft(
        audio, window, hop, window=torch.hann_window(window), pad_mode="constant", return_complex=True
    ).abs()


def peaks_of_the_whole(levels):
    """Times and bands of the most prominent peaks of each second, in order of time."""
    largest = functional.max_pool2d(levels[None], (5, 9), 1, (2, 4))[0]
    bands, times = (each.numpy() for each in ((levels == largest) & (levels > 6)).nonzero(as_tuple=True))
    heights, seconds = levels[bands, times].numpy(), (times / sketches.FRAME_RATE).astype(int)
    kept = [
        index
        for second in np.unique(seconds)
        for index in sorted(np.flatnonzero(seconds == second), key=lambda index: -heights[index])[:30]
    ]
    return np.array(sorted((times[index], bands[index]) for index in kept)).reshape(-1, 2).T


def test_a_sketch_in_blocks_is_that_of_the_whole(audio):
    found = sketch(audio.split(10_007))
    if len(audio) < sketches.WINDOW:
        assert found.times.shape == found.bands.shape == (0,)
        assert found.chroma.shape == (0, SEMITONES)
        return
    of_bands = sketches._bank() @ magnitudes(audio, sketches.HOP)
    levels = sketches._standing_out(of_bands, of_bands.max())
    times, bands = peaks_of_the_whole(levels)
    semitones = levels.view(SEMITONES, FINE, -1).amax(dim=1)
    weights = torch.hann_window(2 * POOL + 1, periodic=False)[1:-1]
    chroma = functional.conv1d(
        semitones[:, None], (weights / weights.sum())[None, None], stride=POOL, padding=POOL - 1
    )[:, 0].T
    assert np.array_equal(found.times, times)
    assert np.array_equal(found.bands, bands)
    assert np.array_equal(found.chroma, (sketches.LEVELS * chroma).round().clamp(0, 255))
    assert levels.shape == (BANDS, 1 + len(audio) // sketches.HOP)


def test_the_blocks_of_a_sketch_leave_no_seams_for_any_length():
    """Lengths around the end of a block, and of a column of the chromagram."""
    noise = torch.randn(2 * sketches._FRAMES * sketches.HOP, generator=torch.Generator().manual_seed(2))
    for frames in (sketches._FRAMES, sketches._FRAMES + 1, sketches._FRAMES + POOL, 2 * sketches._FRAMES - 3):
        audio = noise[: (frames - 1) * sketches.HOP]
        columns = -(-frames // POOL)
        assert len(sketch([audio]).chroma) == len(sketch(audio.split(9_999)).chroma) == columns


def test_a_spectrum_in_blocks_is_that_of_the_whole(audio):
    power = magnitudes(audio, spectral_split.HOP).square().double().numpy()
    frames = power.shape[1]
    energy = power @ np.sin(np.pi * (np.arange(frames) + 0.5) / frames) ** 2
    hertz = np.arange(1, len(energy)) * spectral_split.RATE / spectral_split.WINDOW
    bands = np.floor(12 * np.log2(hertz / spectral_split.LOWEST)).astype(int)
    within = (bands >= 0) & (bands < spectral_split.SEMITONES)
    shares = np.bincount(bands[within], energy[1:][within])
    expected = np.sqrt(shares / max(shares.sum(), 1e-300))
    assert np.allclose(spectrum(audio.split(10_007)), expected, rtol=1e-12, atol=0)
    assert np.linalg.norm(expected) == pytest.approx(1 if len(audio) else 0)
