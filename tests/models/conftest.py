import numpy as np
import pytest

from sottovoce.features.spec import FeatureSpec, View
from sottovoce.models import discovery
from sottovoce.privacy.plan import PrivacyPlan
from sottovoce_client.data.dataset import Sample, TrackDataset

STYLES = ("fugue", "reel", "tango")
FAMILIES = discovery.families("style")


@pytest.fixture(scope="session")
def spec():
    """Small enough to train in milliseconds."""
    return FeatureSpec(n_mels=16, segment_seconds=0.75)


@pytest.fixture(params=FAMILIES)
def family(request):
    return discovery.family("style", request.param)


@pytest.fixture(scope="session")
def shape_of(spec):
    """Shape of one segment as a family sees it."""
    from sottovoce.features.extract import summary_names

    return lambda family: (len(summary_names(spec)),) if family.view is View.SUMMARY else (spec.n_mels, spec.frames)


@pytest.fixture
def dataset_of(spec, shape_of):
    """A data set of random tracks: lengths in segments, targets, units, and a factor on each track's features."""

    def make(family, lengths, *, targets=None, units=None, scale=None, seed=0):
        rng = np.random.default_rng(seed)
        tracks = []
        for index, length in enumerate(lengths):
            segments = rng.standard_normal((length, *shape_of(family))) * (scale[index] if scale else 1)
            target = targets[index] if targets else index % len(STYLES)
            tracks.append(Sample(segments.astype(np.float32), target, units[index] if units else None))
        return TrackDataset.build(tracks, spec)

    return make


@pytest.fixture
def config_of(spec, run_configuration):
    def make(family, **changes):
        values = {
            "family": family.name,
            "classes": STYLES,
            "feature_spec": spec.digest,
            "rounds": 2,
            "learning_rate": 0.5,
            "max_grad_norm": 0.5,
            "segments_per_track": 2,
            "update_clip": 10.0,
            "seed": 1,
        }
        return run_configuration(**(values | changes))

    return make


@pytest.fixture
def plan_of():
    """A plan with a chosen noise multiplier; its ε is not the subject here."""

    def make(config, *, noise_multiplier=1e-9, base_rate=1.0, sample_rate=None, histogram_noise=None):
        return PrivacyPlan(
            unit=config.unit,
            trust=config.trust,
            base_rate=base_rate,
            sample_rate=base_rate if sample_rate is None else sample_rate,
            noise_multiplier=noise_multiplier,
            max_grad_norm=config.max_grad_norm,
            steps=config.steps,
            histogram_noise=histogram_noise,
            epsilon=config.epsilon,
            delta=config.delta,
            epsilon_ceiling=config.epsilon,
        )

    return make


@pytest.fixture
def unaugmented(family, monkeypatch):
    """The family with augmentation off, for what is compared number by number."""
    monkeypatch.setattr(type(family), "augment", lambda self, features, generator: features)
    return family
