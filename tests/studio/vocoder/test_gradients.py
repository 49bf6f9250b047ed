"""Phases that follow from magnitudes."""

import numpy as np
import torch

from sottovoce.features import spectrogram
from sottovoce.features.extract import default_spec
from sottovoce.features.spec import View
from sottovoce.studio.vocoder import phase_gradients
from sottovoce.studio.vocoder.griffin_lim import audible, random_phases

SPEC = default_spec(View.SPECTROGRAM)


def test_they_give_nearly_the_audio_back_where_random_ones_give_noise(chords, magnitudes, convergence):
    wanted = magnitudes(chords(3))
    off = [
        convergence(magnitudes(audible(wanted, way, 0, SPEC)), wanted)
        for way in (
            phase_gradients.integrated(wanted, SPEC, torch.Generator().manual_seed(0)),
            random_phases(wanted, torch.Generator().manual_seed(0)),
        )
    ]
    assert off[0] < 0.2
    assert off[1] > 0.5


def test_a_tone_goes_on_at_its_own_frequency():
    """Between two bins: phases of the loudest bins advance with the tone's frequency."""
    pitch = 100.3 * SPEC.sample_rate / SPEC.n_fft
    audio = torch.sin(2 * torch.pi * pitch * torch.arange(SPEC.sample_rate) / SPEC.sample_rate)
    loud = spectrogram.stft(audio[None], SPEC.n_fft, SPEC.hop_length)[0].abs()
    phases = phase_gradients.integrated(loud, SPEC, torch.Generator().manual_seed(0))[100, 10:-10]
    steps = torch.angle(phases[1:] * phases[:-1].conj())
    expected = 2 * np.pi * pitch * SPEC.hop_length / SPEC.sample_rate
    off = torch.angle(torch.polar(torch.ones(len(steps)), steps - expected)).abs()
    assert float(off.max()) < 0.1


def test_parts_that_do_not_hang_together_begin_each_for_itself():
    """Two tones with silence between them, then one frame alone: every way to a place is gone once."""
    levels = np.array([3.0, 2.0, 1.0, 5.0, 4.0, 0.0])
    starts, stops = np.array([0, 1, 3]), np.array([1, 2, 4])
    found = phase_gradients._along(starts, stops, np.array([0.5, 0.25, -1.0]), levels)
    np.testing.assert_allclose(found, [0, 0.5, 0.75, 0, 2 * np.pi - 1, 0])


def test_the_louder_way_is_taken():
    """Around a square the difference is not the same on both ways: the quiet place is at the end of one."""
    levels = np.array([4.0, 3.0, 0.0, 2.0])
    starts, stops = np.array([0, 1, 0, 3]), np.array([1, 2, 3, 2])
    found = phase_gradients._along(starts, stops, np.array([0.1, 0.2, 0.4, 0.8]), levels)
    np.testing.assert_allclose(found, [0, 0.1, 0.3, 0.4])


def test_silence_has_phases_too():
    phases = phase_gradients.integrated(torch.zeros(SPEC.n_fft // 2 + 1, 5), SPEC, torch.Generator().manual_seed(0))
    torch.testing.assert_close(phases.abs(), torch.ones(phases.shape))
