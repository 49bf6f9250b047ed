from dataclasses import replace

import numpy as np
import pytest
import torch

from sottovoce.errors import ConfigurationError
from sottovoce.features import spectrogram
from sottovoce.features.extract import default_spec, extract
from sottovoce.features.normalisation import (
    CLIP,
    SpectrogramNormalisation,
    constants_bytes,
    load_normalisation,
    shipped,
)
from sottovoce.features.spec import FeatureSpec, View
from sottovoce_client.data.feature_cache import FeatureCache

RATE = 22_050
SPECTROGRAM = default_spec(View.SPECTROGRAM)


@pytest.fixture(scope="module")
def audio(music, as_audio):
    return as_audio(music(rate=RATE))


def test_it_is_fine_enough_to_reconstruct_audio():
    assert SPECTROGRAM.n_mels >= 229
    assert (SPECTROGRAM.n_fft, SPECTROGRAM.hop_length) == (2048, 512)
    assert SPECTROGRAM.views == (View.SPECTROGRAM,)


def test_the_spec_for_recognising_knows_nothing_of_it(spec):
    assert spec.views == (View.SUMMARY, View.LOG_MEL)
    assert spec == default_spec(View.LOG_MEL) == FeatureSpec(version=2, normalisation=spec.normalisation)


def test_shape_type_and_range(audio):
    features = extract(audio, SPECTROGRAM)
    assert features.spectrogram.shape == (2, SPECTROGRAM.n_mels, SPECTROGRAM.frames)
    assert features.spectrogram.dtype == np.float16
    assert np.abs(features.spectrogram).max() <= CLIP
    assert 0.3 < features.spectrogram.astype(np.float32).std() < 3


def test_a_view_that_the_spec_does_not_compute_is_refused(audio, spec):
    with pytest.raises(ConfigurationError, match="does not include the view 'summary'"):
        _ = extract(audio, SPECTROGRAM).summary
    with pytest.raises(ConfigurationError, match="does not include the view 'spectrogram'"):
        _ = extract(audio, spec).spectrogram


def test_a_full_scale_sine_lies_near_0_db():
    wave = torch.sin(2 * torch.pi * 440 * torch.arange(4 * RATE) / RATE)[None]
    loudest = spectrogram.decibels(wave, SPECTROGRAM)[0, :, 40]
    assert loudest.max() == pytest.approx(0, abs=2.5)
    centres = spectrogram.mel_bank(SPECTROGRAM)[int(loudest.argmax())].argmax() * RATE / SPECTROGRAM.n_fft
    assert centres == pytest.approx(440, abs=15)


def test_levels_and_magnitudes_are_each_others_way_back(audio):
    levels = spectrogram.decibels(audio[None, : 4 * RATE], SPECTROGRAM)
    wanted = spectrogram.mel_bank(SPECTROGRAM) @ spectrogram.stft(audio[None, : 4 * RATE], 2048, 512).abs()
    assert torch.allclose(spectrogram.magnitudes(levels), wanted, atol=1e-6, rtol=1e-3)


def test_every_band_hears_something():
    assert (spectrogram.mel_bank(SPECTROGRAM).sum(dim=1) > 0).all()


def test_normalising_can_be_undone(audio):
    constants = shipped(View.SPECTROGRAM)
    raw = extract(audio, replace(SPECTROGRAM, normalisation="")).spectrogram.astype(np.float32)
    back = constants.decibels(torch.from_numpy(extract(audio, SPECTROGRAM).spectrogram).float())
    unclipped = np.abs((raw - constants.mean.numpy()[:, None]) / constants.std.numpy()[:, None]) < CLIP - 0.1
    assert unclipped.mean() > 0.98
    assert np.allclose(back.numpy()[unclipped], raw[unclipped], atol=0.1)


def test_constants_survive_their_bytes_and_must_be_those_that_are_named(audio, spec):
    constants = shipped(View.SPECTROGRAM)
    again = load_normalisation(constants_bytes(SPECTROGRAM))
    assert isinstance(again, SpectrogramNormalisation)
    assert again.digest == constants.digest == SPECTROGRAM.normalisation
    with pytest.raises(ConfigurationError, match="No available normalisation constants match"):
        extract(audio, spec, constants)


def test_constants_that_cannot_normalise_are_refused():
    with pytest.raises(ConfigurationError, match="not positive"):
        SpectrogramNormalisation(torch.zeros(3), torch.zeros(3))
    with pytest.raises(ConfigurationError, match="wrong shape"):
        SpectrogramNormalisation(torch.zeros(3), torch.ones(4))


def test_both_kinds_of_features_live_in_one_cache(tmp_path, write, music, source, spec):
    cache, track = FeatureCache(tmp_path / "cache"), source(write(music(9.0, RATE), "track.flac", rate=RATE))
    fine, coarse = cache.features_of(track.path, track.digest, SPECTROGRAM), cache.get(track.digest, spec)
    assert coarse is None
    assert np.array_equal(cache.get(track.digest, SPECTROGRAM).spectrogram, fine.spectrogram)
    assert cache.features_of(track.path, track.digest, spec).log_mel.shape == (2, 96, 173)
    assert next(iter(cache.load_view([track], SPECTROGRAM, View.SPECTROGRAM))).shape == fine.spectrogram.shape
