"""What every vocoder does."""

import numpy as np
import pytest
import torch

from sottovoce.features import spectrogram
from sottovoce.features.extract import default_spec
from sottovoce.features.spec import View
from sottovoce.studio.vocoder import GriffinLim, NeuralVocoder
from sottovoce.studio.vocoder.interface import CHUNK_FRAMES, OVERLAP_FRAMES, long_audio

SPEC = default_spec(View.SPECTROGRAM)
RATE, HOP = SPEC.sample_rate, SPEC.hop_length


@pytest.fixture(scope="module", params=[GriffinLim, NeuralVocoder], ids=lambda kind: kind.__name__)
def vocoder(request):
    return request.param(SPEC)


def test_audio_comes_back_with_nearly_the_same_spectrum(vocoder, chords, magnitudes, convergence, again):
    audio = chords(6)
    wanted = magnitudes(audio)
    found = convergence(magnitudes(again(vocoder, audio)), wanted)
    noise = 0.1 * torch.randn(audio.shape, generator=torch.Generator().manual_seed(0))
    assert found < 0.25
    assert convergence(magnitudes(noise), wanted) > 0.8


def test_silence_stays_silent(vocoder):
    levels = spectrogram.decibels(torch.zeros(1, RATE), SPEC)[0]
    assert long_audio(vocoder, levels, torch.Generator()).abs().max() < 1e-4


@pytest.mark.parametrize("frames", [2, 3, 44])
def test_the_length_follows_from_the_frames(vocoder, frames):
    audio = long_audio(vocoder, torch.full((SPEC.n_mels, frames), -50.0), torch.Generator())
    assert audio.shape == ((frames - 1) * HOP,)
    assert torch.isfinite(audio).all()


def test_equal_seeds_give_equal_audio_and_leave_torchs_generator_alone(vocoder, chords, again):
    audio = chords(2)
    before = torch.random.get_rng_state()
    one, same, other = (again(vocoder, audio, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_parts_of_long_audio_meet_without_a_click(vocoder, unperiodic, assert_no_click):
    seconds = (CHUNK_FRAMES + 100) * HOP / RATE
    audio = torch.from_numpy(unperiodic(seconds, RATE)[:, 0].astype(np.float32))
    levels = spectrogram.decibels(audio[None], SPEC)[0]
    start, fade = (CHUNK_FRAMES - OVERLAP_FRAMES) * HOP, (OVERLAP_FRAMES - 1) * HOP
    assert_no_click(long_audio(vocoder, levels, torch.Generator().manual_seed(0)).numpy(), [start, start + fade])


def test_the_parts_of_long_audio_meet_without_a_dip(vocoder):
    seconds = (CHUNK_FRAMES + 100) * HOP / RATE
    times = torch.arange(round(seconds * RATE)) / RATE
    audio = 0.3 * torch.sin(2 * torch.pi * 330 * times) + 0.2 * torch.sin(2 * torch.pi * 495 * times)
    told = []
    levels = spectrogram.decibels(audio[None], SPEC)[0]
    found = long_audio(
        vocoder, levels, torch.Generator().manual_seed(0), lambda done, total: told.append((done, total))
    )
    assert len(told) > 1
    assert told[-1] == (levels.shape[1], levels.shape[1])
    level = found[: len(found) // 1024 * 1024].view(-1, 1024).square().mean(dim=1).sqrt()[20:-20]
    seam = (CHUNK_FRAMES - OVERLAP_FRAMES) * HOP // 1024 - 20
    around = level[seam - 5 : seam + OVERLAP_FRAMES * HOP // 1024 + 5]
    assert float(around.mean()) > 0.7 * float(level.mean())
