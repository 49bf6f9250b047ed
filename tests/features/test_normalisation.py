import hashlib
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from sottovoce.errors import ConfigurationError
from sottovoce.features.extract import extract, summary_names
from sottovoce.features.normalisation import CLIP, constants_bytes, load_normalisation, shipped
from sottovoce_simulations.shipped_weights import fit_normalisation
from sottovoce_simulations.shipped_weights.fit_normalisation import LEAST_SHARE, fit


@pytest.fixture
def audio(music, as_audio):
    return as_audio(music(rate=22_050))


@pytest.fixture(scope="module")
def tracks(raw_spec, music, as_audio):
    return [extract(as_audio(music(8.5, 22_050, transpose=seed, seed=seed)), raw_spec) for seed in range(5)]


@pytest.fixture(scope="module")
def fitted(raw_spec, tracks):
    return fit(tracks, summary_names(raw_spec))


def test_normalising_is_subtracting_dividing_and_clipping(spec, raw_spec, audio):
    raw, normal = extract(audio, raw_spec), extract(audio, spec)
    constants = shipped()
    wanted = (raw.summary - constants.summary_mean.numpy()) / constants.summary_std.numpy()
    assert np.allclose(normal.summary, np.clip(wanted, -CLIP, CLIP), atol=1e-5)


def test_constants_survive_their_bytes(fitted, spec):
    again = load_normalisation(fitted.to_bytes())
    assert again.digest == fitted.digest == hashlib.sha256(fitted.to_bytes()).hexdigest()
    assert torch.equal(again.summary_std, fitted.summary_std)
    assert shipped().digest == spec.normalisation == hashlib.sha256(constants_bytes(spec)).hexdigest()


def test_a_release_computes_by_its_own_constants(fitted, spec, audio):
    theirs = replace(spec, normalisation=fitted.digest)
    features = extract(audio, theirs, load_normalisation(fitted.to_bytes()))
    assert not np.allclose(features.summary, extract(audio, spec).summary, atol=0.1)
    assert extract(audio, spec, shipped()).summary == pytest.approx(extract(audio, spec).summary)


def test_constants_that_the_spec_does_not_name_are_refused(fitted, spec, audio):
    theirs = replace(spec, normalisation=fitted.digest)
    for named, given in ((theirs, None), (theirs, shipped()), (spec, fitted)):
        with pytest.raises(ConfigurationError, match="No available normalisation constants match"):
            extract(audio, named, given)
    with pytest.raises(ConfigurationError, match="other than the shipped ones"):
        constants_bytes(theirs)


def test_constants_of_another_shape_are_refused(fitted, audio, spec):
    other = replace(spec, n_mels=40, normalisation=fitted.digest)
    with pytest.raises(ConfigurationError, match="another feature spec"):
        extract(audio, other, fitted)


@pytest.mark.parametrize("damage", [b"", b"junk" * 40, None])
def test_damaged_constants_are_refused(fitted, damage):
    data = damage if damage is not None else fitted.to_bytes()[:-4]
    with pytest.raises(ConfigurationError, match="damaged"):
        load_normalisation(data)


@pytest.mark.parametrize("broken", [0.0, -1.0, float("nan"), float("inf")])
def test_constants_that_cannot_normalise_are_refused(fitted, broken):
    std = fitted.summary_std.clone()
    std[3] = broken
    with pytest.raises(ConfigurationError, match="not finite, or a deviation is not positive"):
        replace(fitted, summary_std=std)


def test_what_hardly_varies_is_not_blown_up(fitted, raw_spec):
    names = summary_names(raw_spec)
    group = [index for index, name in enumerate(names) if name.startswith("mel.mean.")]
    std = fitted.summary_std[group]
    assert float(std.min()) >= LEAST_SHARE * float(std.median()) * 0.99


def test_fitted_constants_make_means_zero_and_deviations_at_most_one(fitted, tracks):
    summaries = np.concatenate([track.summary for track in tracks])
    values = (summaries - fitted.summary_mean.numpy()) / fitted.summary_std.numpy()
    assert np.abs(values.mean(axis=0)).max() < 0.01
    assert values.std(axis=0).max() < 1.01


@pytest.mark.slow
def test_the_command_fits_a_folder(write, music, tmp_path, raw_spec, monkeypatch, caplog):
    monkeypatch.setattr(fit_normalisation, "ProcessPoolExecutor", lambda **_: ThreadPoolExecutor(1))
    for seed in range(3):
        write(music(8.5, 22_050, seed=seed), f"public/{seed}.flac", rate=22_050)
    out = tmp_path / "constants.safetensors"
    monkeypatch.setattr(sys, "argv", ["fit_normalisation", str(tmp_path / "public"), "--out", str(out)])
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    with caplog.at_level(logging.INFO):
        fit_normalisation.main()
    assert load_normalisation(out.read_bytes()).digest in caplog.text
