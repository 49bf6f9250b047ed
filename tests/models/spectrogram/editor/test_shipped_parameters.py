"""The start that is shipped: learned from public audio, and no worse than nothing where it says so."""

import pytest
import torch

from sottovoce.models import discovery, parameters
from sottovoce.models.editor._conditioning import observe
from sottovoce.models.editor._noise import with_noise
from sottovoce.models.initialisation import default_init, initial_parameters, shipped
from sottovoce.run.configure import configure_run
from sottovoce.run.request import RunRequest

pytestmark = pytest.mark.parametrize("name", ["rnn", "cnn"])


def started(name):
    config = configure_run(RunRequest(task="editor", family=name, seed=1), classes=("reel", "tango"), labels=5)
    family, spec = discovery.family("editor", name), discovery.spec_of("editor", name)
    return family, spec, parameters.model_of(family, spec, 2, initial_parameters(config))


def test_a_start_is_shipped_and_is_small(name):
    assert default_init("editor", name) == "public"
    assert shipped("editor", name).stat().st_size < 1_500_000


def test_a_run_from_it_takes_smaller_steps_than_one_from_nothing(name):
    family = discovery.family("editor", name)
    assert family.fine_tuning_recipe(private=False).learning_rate < family.recipe(private=False).learning_rate
    assert family.fine_tuning_recipe(private=True) == family.recipe(private=True)


def test_it_fills_gaps_as_interpolation_does(name):
    family, spec, model = started(name)
    values, missing = torch.randn(2, spec.n_mels, 60), torch.zeros(2, 60, dtype=torch.bool)
    missing[:, 20:33] = True
    clean = torch.zeros(2, dtype=torch.bool)
    wanted = observe(values, missing, clean).interpolated
    assert torch.allclose(family.restore(model, values, missing, clean), wanted.clamp(-4, 4), atol=0.05)


def test_it_takes_noise_off(name):
    """A few steady tones: what is between them is nearer to what was there than under the noise."""
    family, spec, model = started(name)
    clean = torch.full((4, spec.n_mels, 100), -2.0)
    clean[:, 20:200:30] = 2.0
    heard, wanted = with_noise(model.levels, clean, torch.Generator().manual_seed(0))
    found = family.restore(model, heard, torch.zeros(4, 100, dtype=torch.bool), torch.ones(4, dtype=torch.bool))
    assert (found - wanted).abs().mean() < 0.8 * (heard - wanted).abs().mean()
