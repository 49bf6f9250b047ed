import numpy as np
import pytest
import torch

from sottovoce.errors import ConfigurationError
from sottovoce.models import discovery, initialisation, parameters
from sottovoce.models.generator._style_embedding import STYLE
from sottovoce.models.initialisation import InitialParameters, default_init, initial_parameters, write_public
from sottovoce.models.trainable import trainable_mask
from sottovoce.run.configuration import RunConfiguration
from sottovoce.run.configure import configure_run
from sottovoce.run.request import RunRequest
from sottovoce_simulations.scores.repertoire import LEARNED
from sottovoce_simulations.synthesis.styles import STYLES

KNOWN = ("fugue", "reel", "tango")
FAMILIES = [(task, family) for task in ("generator", "style") for family in discovery.families(task)]


def config_of(task, family, classes):
    return configure_run(RunRequest(task=task, family=family, seed=3), classes=classes, labels=5)


def model_of(task, family, classes, vector):
    return parameters.model_of(discovery.family(task, family), discovery.spec_of(task, family), len(classes), vector)


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Ships random parameters for `KNOWN`, and gives them."""

    def make(task, family, classes=KNOWN, spec=None):
        config = config_of(task, family, classes)
        size = initial_parameters(config, "none").size
        vector = np.random.default_rng(5).integers(-64, 64, size).astype(np.float32) / 64  # exact in half precision
        shapes = parameters.shapes(model_of(task, family, classes, vector))
        path = tmp_path / f"{task}-{family}.safetensors"
        arrays = parameters.split(vector, shapes)
        write_public(path, InitialParameters(arrays, classes, spec or config.feature_spec))
        monkeypatch.setattr(initialisation, "shipped", lambda *_: path)
        initialisation._public.cache_clear()  # configuring the run has read what is really shipped
        return vector

    yield make
    initialisation._public.cache_clear()


@pytest.mark.parametrize(("task", "family"), FAMILIES)
def test_the_same_classes_start_from_what_was_learned(shipped, task, family):
    vector = shipped(task, family)
    assert np.array_equal(initial_parameters(config_of(task, family, KNOWN), "public"), vector)
    assert default_init(task, family) == "public"
    assert np.array_equal(initial_parameters(config_of(task, family, KNOWN)), vector)


@pytest.mark.parametrize("family", discovery.families("generator"))
@pytest.mark.parametrize("classes", [("reel", "tango"), ("jig", "reel", "tango"), ("air", "fugue", "reel", "tango")])
def test_a_known_style_is_made_as_before_whatever_others_there_are(shipped, family, classes):
    before = model_of("generator", family, KNOWN, shipped("generator", family) / 16)
    after = model_of("generator", family, classes, initial_parameters(config_of("generator", family, classes)) / 16)
    heard = torch.randn(
        2, discovery.spec_of("generator", family).n_mels, 173, generator=torch.Generator().manual_seed(0)
    )
    losses = [
        discovery.family("generator", family).losses(
            model, heard, torch.full((2,), known.index("tango")), torch.Generator().manual_seed(1)
        )
        for model, known in ((before, KNOWN), (after, classes))
    ]
    assert torch.allclose(*losses, rtol=1e-4)


def test_an_unknown_style_begins_as_the_mean_of_all(shipped):
    vector = shipped("style", "cnn")
    shapes = parameters.shapes(model_of("style", "cnn", KNOWN, vector))
    learned = parameters.split(vector, shapes)["head.bias"]
    new = initial_parameters(config_of("style", "cnn", ("jig", "tango")))
    found = parameters.split(new, parameters.shapes(model_of("style", "cnn", ("jig", "tango"), new)))["head.bias"]
    assert found == pytest.approx([learned.mean(), learned[2]])


def test_none_is_drawn_by_the_runs_seed(shipped):
    shipped("generator", "rnn")
    config = config_of("generator", "rnn", KNOWN)
    spec = discovery.spec_of("generator", "rnn")
    assert np.array_equal(
        initial_parameters(config, "none"),
        parameters.initial(discovery.family("generator", "rnn"), spec, 3, config.seed),
    )


@pytest.mark.parametrize(
    ("task", "family", "shipped_as", "match"),
    [
        ("generator", "vae", ("generator", "rnn"), "belong to another model"),
        ("style", "cnn", ("style", "rnn"), "belong to another model"),
    ],
)
def test_another_model_is_refused(shipped, task, family, shipped_as, match):
    shipped(*shipped_as)
    with pytest.raises(ConfigurationError, match=match):
        initial_parameters(config_of(task, family, KNOWN), "public")


def test_features_of_another_spec_are_refused(shipped):
    shipped("generator", "rnn", spec="ab" * 32)
    with pytest.raises(ConfigurationError, match="another feature spec"):
        initial_parameters(config_of("generator", "rnn", KNOWN), "public")


def test_a_start_that_is_not_there_is_refused(tmp_path):
    config = config_of("style", "svm", KNOWN)
    assert default_init("style", "svm") == "none"
    with pytest.raises(ConfigurationError, match="There are no public parameters"):
        initial_parameters(config, "public")
    with pytest.raises(ConfigurationError, match="No release"):
        initial_parameters(config, str(tmp_path / "nowhere"))


def test_every_start_that_is_shipped_fits():
    for task, family in FAMILIES:
        if default_init(task, family) == "public":
            assert np.isfinite(initial_parameters(config_of(task, family, ("blues", "fugue", "waltz")))).all()


@pytest.mark.parametrize("family", discovery.families("generator"))
def test_every_generator_starts_from_what_was_learned_of_public_music(family):
    assert default_init("generator", family) == "public"
    known = initialisation.read_public(initialisation.shipped("generator", family))
    assert known.feature_spec == config_of("generator", family, KNOWN).feature_spec
    assert set(STYLES) | set(LEARNED) == set(known.classes)


STYLED = {
    "gan": ("discriminator.style.", "generator.style."),
    "rnn": ("style.",),
    "vae": ("style.",),
}


@pytest.mark.parametrize("family", STYLED)
@pytest.mark.parametrize("init", [None, "public", "none"])
@pytest.mark.parametrize("private", [False, True])
def test_a_generators_run_that_starts_from_what_is_known_moves_its_styles_alone(family, init, private):
    config = configure_run(
        RunRequest(task="generator", family=family, private=private, init=init, seed=1),
        classes=("blues", "polka"),
        labels=5,
    )
    parts = () if init == "none" else STYLED[family]
    assert config.trainable == parts
    moved = trainable_mask(config)
    assert moved.sum() == (2 * STYLE * len(parts) if parts else moved.size)
    assert moved.size == initial_parameters(config, init).size
    assert RunConfiguration.from_bytes(config.to_bytes()) == config


def test_what_a_run_trains_is_named_by_different_names():
    config = configure_run(RunRequest(task="style", family="svm", seed=1), classes=("blues", "polka"), labels=5)
    for names in (("linear", "linear"), ("",)):
        with pytest.raises(ConfigurationError, match="trainable"):
            config.changed(trainable=names)
    with pytest.raises(ConfigurationError, match="starts with 'nothing'"):
        trainable_mask(config.changed(trainable=("nothing",)))
