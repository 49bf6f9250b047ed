"""The vocoder's network: what is shipped, and what it says before it has learned anything."""

import subprocess
import sys
from dataclasses import replace
from importlib.resources import files

import pytest
import torch

from sottovoce.features import spectrogram
from sottovoce.features.extract import default_spec
from sottovoce.features.spec import View
from sottovoce.vocoder import GriffinLim, NeuralVocoder, neural, vocoder_of
from sottovoce.vocoder.griffin_lim import Inversion, audible

SPEC = default_spec(View.SPECTROGRAM)
LARGEST = 5_000_000


def levels_of(audio):
    return spectrogram.decibels(audio[None], SPEC)[0]


def test_the_shipped_weights_are_small_and_no_more_than_the_network():
    data = files("sottovoce.vocoder").joinpath(neural.FILE).read_bytes()
    assert len(data) < LARGEST
    assert neural.to_bytes(neural.from_bytes(data)) == data


def test_it_makes_audio_without_what_trains():
    """What a label or a listener has not installed, or has no use for, is not imported."""
    program = """
import sys, torch
from sottovoce.features.extract import default_spec
from sottovoce.features.spec import View
from sottovoce.vocoder import NeuralVocoder
spec = default_spec(View.SPECTROGRAM)
NeuralVocoder(spec).audio(torch.full((spec.n_mels, 8), -40.0), torch.Generator())
names = {name.partition(".")[0] for name in sys.modules}
sys.exit(" ".join(names & {"opacus", "flwr", "sottovoce_simulations", "sottovoce_client", "sottovoce_server"}) or 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_before_it_has_learned_anything_it_inverts_bands_as_griffin_lim_does(chords):
    levels = levels_of(chords(1))
    mel = spectrogram.magnitudes(levels)
    vocoder = NeuralVocoder(SPEC, network=neural.Network(SPEC.n_fft // 2 + 1))
    found = vocoder.spectrum(levels).magnitudes
    torch.testing.assert_close(found, Inversion(SPEC).magnitudes(mel), rtol=1e-3, atol=spectrogram.FLOOR)


def test_parts_of_a_spectrogram_meet_as_if_it_were_one(chords, monkeypatch):
    levels = levels_of(chords(3))
    whole = NeuralVocoder(SPEC).spectrum(levels)
    monkeypatch.setattr(neural, "AT_ONCE", 48)
    for one, other in zip(whole, NeuralVocoder(SPEC).spectrum(levels), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_its_magnitudes_have_the_bands_that_were_given(chords, magnitudes):
    levels = levels_of(chords(2))
    bands = spectrogram.mel_bank(SPEC) @ NeuralVocoder(SPEC).spectrum(levels).magnitudes
    wanted = spectrogram.magnitudes(levels)
    assert float((bands - wanted).norm() / wanted.norm()) < 0.02


def test_phases_are_put_together_from_their_differences(chords, magnitudes, convergence):
    """True ones give nearly the audio back, but for one phase that all have in common; none give noise."""
    audio = chords(3)
    spectrum = spectrogram.stft(audio[None], SPEC.n_fft, SPEC.hop_length)
    units, bins = torch.sgn(spectrum), torch.arange(spectrum.shape[1])[:, None]
    onward, upward = torch.zeros_like(units), torch.zeros_like(units)
    turn = torch.polar(torch.ones(1), -2 * torch.pi * (bins * SPEC.hop_length % SPEC.n_fft) / SPEC.n_fft)
    onward[:, :, 1:] = units[:, :, 1:] * units[:, :, :-1].conj() * turn
    upward[:, 1:] = -units[:, 1:] * units[:, :-1].conj()
    logs = torch.log(spectrum.abs() + spectrogram.FLOOR)
    off = []
    for known in (1.0, 0.0):
        found = neural.Spectrum(logs[0], known * onward[0], known * upward[0])
        phases = neural.joined(found, SPEC, torch.Generator().manual_seed(0))
        off.append(convergence(magnitudes(audible(found.magnitudes, phases, 0, SPEC)), magnitudes(audio)))
    assert off[0] < 0.15
    assert off[1] > 0.4


def test_it_is_nearer_to_unheard_chords_than_griffin_lim(chords, magnitudes, convergence, again):
    audio = chords(4, seed=5)
    off = [convergence(magnitudes(again(kind(SPEC), audio)), magnitudes(audio)) for kind in (NeuralVocoder, GriffinLim)]
    assert off[0] < off[1]


@pytest.mark.parametrize("change", [{"n_mels": 229}, {"hop_length": 256}, {"f_max": 8000.0}])
def test_other_spectrograms_go_through_griffin_lim(change):
    assert isinstance(vocoder_of(SPEC), NeuralVocoder)
    assert isinstance(vocoder_of(replace(SPEC, segment_seconds=12.0, hop_seconds=12.0)), NeuralVocoder)
    assert isinstance(vocoder_of(replace(SPEC, **change)), GriffinLim)
