"""What every vocoder does."""

import numpy as np
import pytest
import torch

from sottovoce.features import spectrogram
from sottovoce.features.extract import default_spec
from sottovoce.features.spec import View
from sottovoce.studio.vocoder import GriffinLim, NeuralVocoder, interface
from sottovoce.studio.vocoder.interface import OVERLAP_FRAMES, long_audio

SPEC = default_spec(View.SPECTROGRAM)
RATE, HOP = SPEC.sample_rate, SPEC.hop_length
CHUNK_FRAMES = 256


@pytest.fixture
def short_parts(monkeypatch):
    """Long audio comes in parts of a quarter of the usual length."""
    monkeypatch.setattr(interface, "CHUNK_FRAMES", CHUNK_FRAMES)


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


@pytest.mark.usefixtures("short_parts")
def test_the_parts_of_long_audio_meet_without_a_click(vocoder, unperiodic, assert_no_click):
    seconds = (CHUNK_FRAMES + 100) * HOP / RATE
    audio = torch.from_numpy(unperiodic(seconds, RATE)[:, 0].astype(np.float32))
    levels = spectrogram.decibels(audio[None], SPEC)[0]
    start, fade = (CHUNK_FRAMES - OVERLAP_FRAMES) * HOP, (OVERLAP_FRAMES - 1) * HOP
    assert_no_click(long_audio(vocoder, levels, torch.Generator().manual_seed(0)).numpy(), [start, start + fade])


@pytest.mark.usefixtures("short_parts")
def test_the_parts_of_long_audio_meet_without_a_dip(vocoder):
    """In noise, whose phases are unrelated everywhere: the cross-fade keeps its power."""
    frames = CHUNK_FRAMES + 100
    audio = 0.1 * torch.randn(1, frames * HOP, generator=torch.Generator().manual_seed(5))
    told = []
    levels = spectrogram.decibels(audio, SPEC)[0]
    found = long_audio(
        vocoder, levels, torch.Generator().manual_seed(0), lambda done, total: told.append((done, total))
    )
    assert len(told) > 1
    assert told[-1] == (levels.shape[1], levels.shape[1])
    start, fade = (CHUNK_FRAMES - OVERLAP_FRAMES) * HOP, (OVERLAP_FRAMES - 1) * HOP
    middle = found[start + fade // 4 : start + 3 * fade // 4]
    # Within 3 % over several seeds; a cross-fade of equal amplitude instead of equal power loses 20 %.
    assert float(middle.square().mean().sqrt() / found.square().mean().sqrt()) == pytest.approx(1, abs=0.1)
