import torch

from sottovoce.features import spectrogram
from sottovoce.features.extract import default_spec
from sottovoce.features.spec import View
from sottovoce.studio.vocoder.griffin_lim import Inversion, audible, random_phases

SPEC = default_spec(View.SPECTROGRAM)


def test_the_bands_are_undone_by_non_negative_least_squares(chords, magnitudes, convergence):
    inversion = Inversion(SPEC)
    wanted = magnitudes(chords(3))
    bank = spectrogram.mel_bank(SPEC)
    found = inversion.magnitudes(bank @ wanted)
    assert (found >= 0).all()
    assert float((bank @ found - bank @ wanted).norm() / (bank @ wanted).norm()) < 0.03
    assert convergence(found, wanted) < 0.25
    assert torch.isfinite(inversion.magnitudes(torch.zeros(SPEC.n_mels, 3))).all()


def test_a_flat_spectrum_spreads_over_all_bins_that_lie_in_bands():
    bank = spectrogram.mel_bank(SPEC)
    flat = bank.sum(dim=0, keepdim=True).T > 0
    found = Inversion(SPEC).spread(bank @ torch.ones(bank.shape[1], 1))
    torch.testing.assert_close(found, flat.float())


def test_true_phases_stay_and_iterations_mend_others(chords, magnitudes, convergence):
    audio = chords(3)
    spectrum = spectrogram.stft(audio[None], SPEC.n_fft, SPEC.hop_length)[0]
    torch.testing.assert_close(audible(spectrum.abs(), torch.sgn(spectrum), 0, SPEC), audio[: len(audio) // 512 * 512])
    chance = random_phases(spectrum.abs(), torch.Generator().manual_seed(0))
    off = [
        convergence(magnitudes(audible(spectrum.abs(), chance, count, SPEC)), spectrum.abs()) for count in (0, 4, 32)
    ]
    assert off[0] > 2 * off[1] > 3 * off[2]
