"""The start that is shipped: learned from public audio, and no worse than nothing where it says so."""

import torch

from sottovoce.configure import configured
from sottovoce.models import parameters, registry
from sottovoce.models.editor._noise import with_noise
from sottovoce.models.editor._observed import observe
from sottovoce.models.start import default_init, first_parameters, shipped


def started():
    config = configured(task="editor", family="rnn", classes=("reel", "tango"), labels=5, seed=1)
    family, spec = registry.family("editor", "rnn"), registry.spec_of("editor", "rnn")
    return family, spec, parameters.model_of(family, spec, 2, first_parameters(config))


def test_a_start_is_shipped_for_rnn_and_is_small():
    assert default_init("editor", "rnn") == "public"
    assert default_init("editor", "cnn") == "none"
    assert shipped("editor", "rnn").stat().st_size < 1_500_000


def test_it_fills_gaps_as_interpolation_does():
    family, spec, model = started()
    values, missing = torch.randn(2, spec.n_mels, 60), torch.zeros(2, 60, dtype=torch.bool)
    missing[:, 20:33] = True
    clean = torch.zeros(2, dtype=torch.bool)
    wanted = observe(values, missing, clean).interpolated
    assert torch.allclose(family.restore(model, values, missing, clean), wanted.clamp(-4, 4), atol=0.05)


def test_it_takes_noise_off():
    """A few steady tones: what is between them is nearer to what was there than under the noise."""
    family, spec, model = started()
    clean = torch.full((4, spec.n_mels, 100), -2.0)
    clean[:, 20:200:30] = 2.0
    heard, wanted = with_noise(model.levels, clean, torch.Generator().manual_seed(0))
    found = family.restore(model, heard, torch.zeros(4, 100, dtype=torch.bool), torch.ones(4, dtype=torch.bool))
    assert (found - wanted).abs().mean() < 0.8 * (heard - wanted).abs().mean()
