import numpy as np
import pytest
import torch

from sottovoce.features import spectrogram
from sottovoce.features.extract import default_spec
from sottovoce.features.spec import View
from sottovoce.vocoder import GriffinLim
from sottovoce.vocoder.base import CHUNK_FRAMES, OVERLAP_FRAMES, long_audio

SPEC = default_spec(View.SPECTROGRAM)
RATE, HOP = SPEC.sample_rate, SPEC.hop_length


@pytest.fixture(scope="module")
def vocoder():
    return GriffinLim(SPEC)


def chords(seconds, seed=1):
    """Decaying chords with partials, mono."""
    rng = np.random.default_rng(seed)
    wave = np.zeros(round(seconds * RATE))
    for start in np.arange(0, seconds - 0.05, 0.5):
        first = round(start * RATE)
        times = np.arange(min(RATE, len(wave) - first)) / RATE
        for degree in rng.choice([0, 4, 7, 12, 14], 3, replace=False):
            pitch = 440 * 2 ** ((55 + degree - 69) / 12)
            partials = sum(np.sin(2 * np.pi * pitch * k * times) / k for k in range(1, 6))
            wave[first : first + RATE] += partials * np.exp(-times / 0.3)
    return torch.from_numpy((0.4 * wave / np.abs(wave).max()).astype(np.float32))


def magnitudes(audio):
    return spectrogram.stft(audio[None], SPEC.n_fft, HOP).abs()[0]


def convergence(found, wanted):
    """Spectral convergence: the distance of two magnitudes over the length of the second."""
    frames = min(found.shape[1], wanted.shape[1])
    return float((found[:, :frames] - wanted[:, :frames]).norm() / wanted[:, :frames].norm())


def again(vocoder, audio, seed=0):
    levels = spectrogram.decibels(audio[None], SPEC)[0]
    return long_audio(vocoder, levels, torch.Generator().manual_seed(seed))


def test_audio_comes_back_with_nearly_the_same_spectrum(vocoder):
    audio = chords(6)
    wanted = magnitudes(audio)
    found = convergence(magnitudes(again(vocoder, audio)), wanted)
    noise = 0.1 * torch.randn(audio.shape, generator=torch.Generator().manual_seed(0))
    assert found < 0.25
    assert convergence(magnitudes(noise), wanted) > 0.8


def test_the_bands_are_undone_by_non_negative_least_squares(vocoder):
    wanted = magnitudes(chords(3))
    bank = spectrogram.mel_bank(SPEC)
    found = vocoder.magnitudes(bank @ wanted)
    assert (found >= 0).all()
    assert float((bank @ found - bank @ wanted).norm() / (bank @ wanted).norm()) < 0.03
    assert convergence(found, wanted) < 0.25
    assert torch.isfinite(vocoder.magnitudes(torch.zeros(SPEC.n_mels, 3))).all()


def test_silence_stays_silent(vocoder):
    levels = spectrogram.decibels(torch.zeros(1, RATE), SPEC)[0]
    assert long_audio(vocoder, levels, torch.Generator()).abs().max() < 1e-4


@pytest.mark.parametrize("frames", [2, 3, 44])
def test_the_length_follows_from_the_frames(vocoder, frames):
    audio = long_audio(vocoder, torch.full((SPEC.n_mels, frames), -50.0), torch.Generator())
    assert audio.shape == ((frames - 1) * HOP,)
    assert torch.isfinite(audio).all()


def test_equal_seeds_give_equal_audio_and_leave_torchs_generator_alone(vocoder):
    audio = chords(2)
    before = torch.random.get_rng_state()
    one, same, other = (again(vocoder, audio, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_parts_of_long_audio_meet_without_a_click_or_a_dip(vocoder):
    seconds = (2 * CHUNK_FRAMES + 100) * HOP / RATE
    times = torch.arange(round(seconds * RATE)) / RATE
    audio = 0.3 * torch.sin(2 * torch.pi * 330 * times) + 0.2 * torch.sin(2 * torch.pi * 495 * times)
    told = []
    levels = spectrogram.decibels(audio[None], SPEC)[0]
    found = long_audio(
        vocoder, levels, torch.Generator().manual_seed(0), lambda done, total: told.append((done, total))
    )
    assert len(told) > 1
    assert told[-1] == (levels.shape[1], levels.shape[1])
    # A click is a step between neighbours that no wave of these pitches makes.
    steepest = float(audio.diff().abs().max())
    assert float(found[RATE // 10 : -RATE // 10].diff().abs().max()) < 2.5 * steepest
    level = found[: len(found) // 1024 * 1024].view(-1, 1024).square().mean(dim=1).sqrt()[20:-20]
    seam = (CHUNK_FRAMES - OVERLAP_FRAMES) * HOP // 1024 - 20
    around = level[seam - 5 : seam + OVERLAP_FRAMES * HOP // 1024 + 5]
    assert float(around.mean()) > 0.7 * float(level.mean())
