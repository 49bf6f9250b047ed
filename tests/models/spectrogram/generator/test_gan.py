import numpy as np
import pytest
import torch

from sottovoce.errors import ConfigurationError
from sottovoce.models import discovery, interfaces, parameters
from sottovoce.models.generator.gan import DISCRIMINATOR
from sottovoce.privacy.plan import PrivacyPlan
from sottovoce.randomness import Randomness
from sottovoce.run.configure import configure_run
from sottovoce.run.request import RunRequest
from sottovoce_client.data.dataset import Sample, TrackDataset
from sottovoce_client.training.dp_sgd import train
from sottovoce_client.training.round_inputs import RoundInputs
from sottovoce_client.training.unit_gradients import UnitGradients

GAN = discovery.family("generator", "gan")
CLASSES = 3


@pytest.fixture
def family():
    return GAN


@pytest.fixture
def dataset_of(spec):
    """Twelve tracks of noise at this level."""

    def make(seed, scale=1.0):
        rng = np.random.default_rng(seed)
        shape = (1, spec.n_mels, spec.frames)
        samples = [Sample((scale * rng.standard_normal(shape)).astype(np.float32), n % CLASSES) for n in range(12)]
        return TrackDataset.build(samples, spec)

    return make


@pytest.fixture
def config(spec):
    made = configure_run(
        RunRequest(task="generator", family="gan", rounds=1, init="none", seed=1), classes=("a", "b", "c"), labels=5
    )
    return made.changed(feature_spec=spec.digest, batch_size=12, local_steps=1, max_grad_norm=1e-6, learning_rate=1.0)


@pytest.fixture
def plan(config):
    return PrivacyPlan(
        unit=config.unit,
        trust=config.trust,
        base_rate=1.0,
        sample_rate=1.0,
        noise_multiplier=1e-3,
        max_grad_norm=config.max_grad_norm,
        steps=1,
        histogram_noise=None,
        epsilon=8.0,
        delta=1e-5,
        epsilon_ceiling=8.0,
    )


def kept(spec):
    """Which numbers of the flat vector are the discriminator's."""
    model = GAN.build(spec, CLASSES)
    names = interfaces.trainable(model).items()
    return torch.cat([torch.full((value.numel(),), name.startswith(DISCRIMINATOR)) for name, value in names]).numpy()


def test_only_the_discriminator_has_a_private_gradient(model, spec, batch_of):
    gradients = UnitGradients(GAN, model, 1.0)
    rows, _ = gradients.rows(batch_of(spec.n_mels, spec.frames, [1, 2]), torch.ones(2), torch.Generator())
    assert np.array_equal(gradients.private.numpy(), kept(spec))
    assert (rows[:, ~gradients.private] == 0).all()
    assert (rows[:, gradients.private] != 0).any()
    assert all(value.grad is None for value in model.generator.parameters())


def test_the_loss_has_no_path_to_the_generator(model, spec, batch_of):
    batch = batch_of(spec.n_mels, spec.frames, [1, 1])
    loss = GAN.losses(model, batch.features[:, 0], batch.targets, torch.Generator()).sum()
    loss.backward()
    assert all(value.grad is None for value in model.generator.parameters())
    assert any(value.grad.abs().sum() > 0 for value in model.discriminator.parameters())


def test_the_generator_learns_nothing_that_the_discriminator_did_not_let_through(
    spec, vector_of, dataset_of, config, plan
):
    """With a clip of a millionth the discriminator stays in place, and the generator's step is the same for any audio,
    up to rounding at the scale of that millionth."""
    vector = vector_of(GAN)
    updates = [
        train(RoundInputs(GAN, vector, dataset, config, plan, Randomness.for_simulation(7)))
        for dataset in (dataset_of(0), dataset_of(1, 3.0))
    ]
    private = kept(spec)
    assert np.abs(updates[0][private]).max() < 1e-5
    assert np.linalg.norm(updates[0][~private]) > 1e-2
    assert np.abs(updates[0][~private] - updates[1][~private]).max() < 1e-5
    assert not np.array_equal(updates[0][private], updates[1][private])


def test_with_an_open_clip_audio_does_reach_it(spec, vector_of, dataset_of, config, plan):
    """The other way round, so that the test above can fail."""
    wide = config.changed(max_grad_norm=100.0)
    open_plan = PrivacyPlan(**{**vars(plan), "max_grad_norm": 100.0, "noise_multiplier": 1e-9})
    updates = [
        train(RoundInputs(GAN, vector_of(GAN), dataset, wide, open_plan, Randomness.for_simulation(7)))
        for dataset in (dataset_of(0), dataset_of(1, 3.0))
    ]
    private = kept(spec)
    assert np.abs(updates[0][~private] - updates[1][~private]).max() > 1e-4


def test_a_step_after_the_step_needs_no_audio_and_leaves_the_discriminator_alone(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    UnitGradients(GAN, model, 1.0)  # hooks that would collect gradients
    GAN.after_step(model, Randomness.for_simulation(1))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith(DISCRIMINATOR), name
    assert all(getattr(value, "grad_sample", None) is None and value.grad is None for value in model.parameters())


def test_where_styles_alone_are_trained_the_generators_follow_without_audio(spec, vector_of, dataset_of, config, plan):
    """As in a run that starts from what is known."""
    some = config.changed(trainable=GAN.fine_tuning_recipe(private=True).trainable)
    updates = [
        train(RoundInputs(GAN, vector_of(GAN), dataset, some, plan, Randomness.for_simulation(7)))
        for dataset in (dataset_of(0), dataset_of(1, 3.0))
    ]
    names = parameters.shapes_of(GAN, spec, CLASSES)
    moved = {name: names[name] for name in names if name.endswith("style.weight")}
    assert len(moved) == 2
    (heard, made), (heard_other, made_other) = (parameters.split(update, moved).values() for update in updates)
    assert not np.array_equal(heard, heard_other)
    assert np.linalg.norm(made) > 1e-4
    assert np.abs(made - made_other).max() < 1e-5


def test_noise_falls_on_the_discriminator_alone(spec, vector_of, dataset_of, config, plan):
    loud = PrivacyPlan(**{**vars(plan), "noise_multiplier": 1e6})
    update = train(RoundInputs(GAN, vector_of(GAN), dataset_of(0), config, loud, Randomness.for_simulation(7)))
    private = kept(spec)
    # 1e6 · 1e-6 / 12
    assert np.std(update[private]) == pytest.approx(1 / 12, rel=0.1)
    assert np.abs(update[~private]).max() < 0.5 * np.abs(update[private]).max()


def test_labels_cannot_share_its_noise():
    with pytest.raises(ConfigurationError, match="'gan' does not support distributed noise"):
        configure_run(RunRequest(task="generator", family="gan", min_honest=3), classes=("a", "b"), labels=5)
