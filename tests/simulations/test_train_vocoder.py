"""How the vocoder's network is learned."""

import sys

import numpy as np
import pytest
import soundfile
import torch

from sottovoce.errors import CatalogueError
from sottovoce.features import spectrogram
from sottovoce.features.extract import default_spec
from sottovoce.features.spec import View
from sottovoce.studio.vocoder import neural
from sottovoce.studio.vocoder.griffin_lim import Inversion
from sottovoce_simulations.shipped_weights import train_vocoder

SPEC = default_spec(View.SPECTROGRAM)
RATE = SPEC.sample_rate


@pytest.fixture
def folder(tmp_path):
    """Tones that start and stop, one track that is too short, and a file that is not audio."""
    found = tmp_path / "tones"
    found.mkdir()
    times = np.arange(2 * RATE) / RATE
    for number in range(3):
        beat = np.exp(-6 * (times % 0.4))
        audio = 0.3 * beat * sum(np.sin(2 * np.pi * (200 + 40 * number) * k * times) / k for k in range(1, 9))
        soundfile.write(found / f"{number}.wav", audio, RATE)
    soundfile.write(found / "short.wav", audio[: RATE // 5], RATE)
    (found / "none.wav").write_bytes(b"no audio")
    return found


@pytest.fixture
def audio(folder):
    return train_vocoder.gather(sorted(folder.iterdir()), SPEC)


def test_what_is_too_short_or_no_audio_is_left_out(audio):
    assert [(len(one), one.dtype) for one in audio] == [(2 * RATE, torch.float16)] * 3


def test_no_audio_is_named(folder):
    with pytest.raises(CatalogueError, match="no audio"):
        train_vocoder.gather([folder / "short.wav"], SPEC)


@pytest.mark.slow
def test_it_learns_what_bands_leave_open(audio, monkeypatch):
    monkeypatch.setattr(train_vocoder, "FRAMES", 16)
    heard = train_vocoder.excerpts(audio, 40, SPEC, torch.Generator().manual_seed(9))

    def off(network):
        return train_vocoder.losses(train_vocoder.Pupil(network).requires_grad_(False), heard, Inversion(SPEC), SPEC)

    before, after = off(neural.Network(SPEC.n_fft // 2 + 1)), off(train_vocoder.fit(audio, SPEC, steps=60))
    assert after[0] < 0.97 * before[0]
    assert after[1] < before[1]
    assert [float(part) for part in before[2:]] == pytest.approx([train_vocoder.PHASES] * 2, rel=1e-3)


def test_the_pupil_says_what_its_network_says():
    network = neural.Network(SPEC.n_fft // 2 + 1).requires_grad_(False)
    torch.nn.init.normal_(network.said.weight, generator=torch.Generator().manual_seed(0))
    spectra = torch.rand(2, 1, SPEC.n_fft // 2 + 1, 9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(train_vocoder.Pupil(network)(*spectra)[0], network(*spectra))


def test_right_magnitudes_cost_nothing():
    wanted = torch.rand(2, SPEC.n_fft // 2 + 1, 5, generator=torch.Generator().manual_seed(0))
    logs = torch.log(wanted + spectrogram.FLOOR)
    assert [float(part) for part in train_vocoder.of_magnitudes(logs, wanted)] == pytest.approx([0, 0], abs=1e-3)
    distance, convergence = train_vocoder.of_magnitudes(logs + 0.1, wanted)
    assert float(distance) == pytest.approx(0.1, rel=1e-3)
    assert float(convergence) == pytest.approx(np.exp(0.1) - 1, rel=1e-2)


def test_right_phases_cost_nothing():
    """A spectrum whose phases advance with each bin's frequency, and one with the opposite phases."""
    bins = torch.arange(SPEC.n_fft // 2 + 1)[:, None]
    angles = 6 * torch.rand(1, len(bins), 1, generator=torch.Generator().manual_seed(0))
    turn = torch.polar(torch.ones(1), 2 * torch.pi * (bins * SPEC.hop_length % SPEC.n_fft) / SPEC.n_fft)
    wanted = torch.polar(torch.full(angles.shape, 0.2), angles) * turn ** torch.arange(4)
    onward, upward = torch.ones_like(wanted), torch.zeros_like(wanted)
    upward[:, 1:] = -torch.sgn(wanted[:, 1:] * wanted[:, :-1].conj())
    right = [float(part) for part in train_vocoder.of_phases(onward, upward, wanted, SPEC)]
    wrong = [float(part) for part in train_vocoder.of_phases(-onward, -upward, wanted, SPEC)]
    assert right == pytest.approx([0, 0], abs=1e-3)
    assert wrong == pytest.approx([4 * train_vocoder.PHASES] * 2, rel=1e-3)


def test_the_command_writes_what_loads_and_the_same_again(folder, tmp_path, monkeypatch):
    data = []
    for name in ("one", "other"):
        out = tmp_path / name
        monkeypatch.setattr(sys, "argv", ["vocoding", str(folder), "--steps", "2", "--tracks", "5", "--out", str(out)])
        train_vocoder.main()
        data.append(out.read_bytes())
    assert data[0] == data[1]
    assert isinstance(neural.from_bytes(data[0]), neural.Network)
