"""The vocoder's network: the shipped weights, and its output before training."""

import subprocess
import sys
from dataclasses import replace
from importlib.resources import files

import pytest
import torch

from sottovoce.features import spectrogram
from sottovoce.features.extract import default_spec
from sottovoce.features.spec import View
from sottovoce.studio.vocoder import GriffinLim, NeuralVocoder, neural, vocoder_of
from sottovoce.studio.vocoder.griffin_lim import Inversion

SPEC = default_spec(View.SPECTROGRAM)
LARGEST = 5_000_000


def levels_of(audio):
    return spectrogram.decibels(audio[None], SPEC)[0]


def test_the_shipped_weights_are_small_and_no_more_than_the_network():
    data = files("sottovoce.studio.vocoder").joinpath(neural.FILE).read_bytes()
    assert len(data) < LARGEST
    assert neural.to_bytes(neural.from_bytes(data)) == data


def test_it_makes_audio_without_what_trains():
    """What a label or a listener has not installed, or has no use for, is not imported."""
    program = """
import sys, torch
from sottovoce.features.extract import default_spec
from sottovoce.features.spec import View
from sottovoce.studio.vocoder import NeuralVocoder
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
    found = vocoder.magnitudes(levels)
    torch.testing.assert_close(found, Inversion(SPEC).magnitudes(mel), rtol=1e-3, atol=spectrogram.FLOOR)


def test_parts_of_a_spectrogram_meet_as_if_it_were_one(chords, monkeypatch):
    levels = levels_of(chords(3))
    whole = NeuralVocoder(SPEC).magnitudes(levels)
    monkeypatch.setattr(neural, "AT_ONCE", 48)
    torch.testing.assert_close(NeuralVocoder(SPEC).magnitudes(levels), whole, rtol=1e-3, atol=1e-5)


def test_its_magnitudes_have_the_bands_that_were_given(chords):
    levels = levels_of(chords(2))
    bands = spectrogram.mel_bank(SPEC) @ NeuralVocoder(SPEC).magnitudes(levels)
    wanted = spectrogram.magnitudes(levels)
    assert float((bands - wanted).norm() / wanted.norm()) < 0.02


def test_it_is_nearer_to_unheard_chords_than_griffin_lim(chords, magnitudes, convergence, again):
    audio = chords(4, seed=5)
    off = [convergence(magnitudes(again(kind(SPEC), audio)), magnitudes(audio)) for kind in (NeuralVocoder, GriffinLim)]
    assert off[0] < 0.9 * off[1]


@pytest.mark.parametrize("change", [{"n_mels": 229}, {"hop_length": 256}, {"f_max": 8000.0}])
def test_other_spectrograms_go_through_griffin_lim(change):
    assert isinstance(vocoder_of(SPEC), NeuralVocoder)
    assert isinstance(vocoder_of(replace(SPEC, segment_seconds=12.0, hop_seconds=12.0)), NeuralVocoder)
    assert isinstance(vocoder_of(replace(SPEC, **change)), GriffinLim)
